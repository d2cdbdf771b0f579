// A bridge with matrix-bot-sdk: it makes ghosts and rooms when asked, and echoes what it reads.
//
// Input and output are as in js_sdk.mjs. Its encryption, a binary from elsewhere, is left out.

import { createInterface } from "node:readline";
import Module, { createRequire } from "node:module";

const require = createRequire(process.argv[2]);
const load = Module._load;
const absent = new Proxy(class {}, { get: (target, name) => target[name] ?? class {} });
Module._load = (name, ...more) =>
    name === "@matrix-org/matrix-sdk-crypto-nodejs" ? absent : load(name, ...more);
const sdk = require("matrix-bot-sdk");
sdk.LogService.setLevel(sdk.LogLevel.ERROR);
for (const name of ["log", "info", "debug", "warn", "error"]) console[name] = () => {};

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

let bridge;
let bot;

const verbs = {
    async begin({ url, server, port, registration }) {
        bridge = new sdk.Appservice({
            port,
            bindAddress: "127.0.0.1",
            homeserverName: server,
            homeserverUrl: url,
            registration,
        });
        bridge.on("query.user", (user, create) => {
            say({ seen: "user query", user });
            create({ display_name: "A ghost" });
        });
        bridge.on("query.room", (alias, create) => {
            say({ seen: "room query", alias });
            create({ preset: "public_chat", name: "Made on demand" });
        });
        bridge.on("room.invite", async (room, event) => {
            await bridge.getIntentForUserId(event.state_key).joinRoom(room);
            say({ seen: "invite", room, user: event.state_key });
        });
        bridge.on("room.message", async (room, event) => {
            if (bridge.isNamespacedUser(event.sender) || event.sender === bridge.botUserId) return;
            say({ seen: "message", room, body: event.content.body });
            const ghost = bridge.getIntentForSuffix("ann");
            await ghost.ensureRegisteredAndJoined(room);
            await ghost.sendText(room, `you said: ${event.content.body}`);
        });
        bridge.on("ephemeral.event", (event) => say({ seen: "ephemeral", type: event.type }));
        await bridge.begin();
        await bridge.botIntent.ensureRegistered();
        return bridge.botUserId;
    },
    async whoami() {
        return await bridge.botClient.getUserId();
    },
    async bot({ url, token }) {
        bot = new sdk.MatrixClient(url, token, new sdk.MemoryStorageProvider());
        sdk.AutojoinRoomsMixin.setupOnClient(bot);
        bot.on("room.message", async (room, event) => {
            if (event.sender === (await bot.getUserId()) || event.content.msgtype === "m.notice") return;
            await bot.replyNotice(room, event, `heard: ${event.content.body}`);
        });
        bot.on("room.join", (room) => say({ seen: "joined", room }));
        await bot.start();
        return await bot.getUserId();
    },
    async stop() {
        bridge?.stop();
        bot?.stop();
    },
};

for await (const line of createInterface({ input: process.stdin })) {
    const { id, do: verb, args } = JSON.parse(line);
    verbs[verb](args ?? {}).then(
        (ok) => say({ id, ok: ok ?? null }),
        (error) => say({ id, error: String(error?.body?.error ?? error?.stack ?? error) }),
    );
}
