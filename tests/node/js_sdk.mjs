// A person with matrix-js-sdk, who does what they are told.
//
// Each line of input is JSON: {"id", "do", "args"}; each is answered by {"id", "ok"} or
// {"id", "error"}. What happens to them is told meanwhile, as {"seen", ...}.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.argv[2]);
const sdk = await import(pathToFileURL(require.resolve("matrix-js-sdk")));
const { SlidingSync } = await import(
    pathToFileURL(require.resolve("matrix-js-sdk/lib/sliding-sync.js"))
);
const { logger } = await import(pathToFileURL(require.resolve("matrix-js-sdk/lib/logger.js")));
logger.setLevel("silent");
for (const name of ["log", "info", "debug", "warn", "error"]) console[name] = () => {};

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

let client;
let verification;
let secret;  // the key of the secret storage

const callbacks = {
    getSecretStorageKey: async ({ keys }) => secret && [Object.keys(keys)[0], secret],
};

function tell(event, room) {
    say({
        seen: "event",
        room: room?.roomId ?? event.getRoomId(),
        event: event.getId(),
        type: event.getType(),
        sender: event.getSender(),
        content: event.getContent(),
        encrypted: event.isEncrypted(),
        failed: event.isDecryptionFailure(),
    });
}

function watch() {
    client.on(sdk.RoomEvent.Timeline, async (event, room, toStart, removed, data) => {
        if (toStart || !data.liveEvent) return;
        await client.decryptEventIfNeeded(event);
        if (!event.isDecryptionFailure()) tell(event, room);
    });
    client.on(sdk.MatrixEventEvent.Decrypted, (event) => {
        if (!event.isDecryptionFailure()) tell(event);
    });
    client.on(sdk.RoomEvent.MyMembership, (room, membership) => {
        say({ seen: "membership", room: room.roomId, membership });
    });
    client.on(sdk.RoomEvent.Redaction, (event, room) => {
        say({ seen: "redaction", room: room.roomId, redacts: event.event.redacts ?? event.getContent().redacts });
    });
    client.on(sdk.RoomMemberEvent.Typing, (event, member) => {
        say({ seen: "typing", room: member.roomId, user: member.userId, typing: member.typing });
    });
    client.on(sdk.RoomEvent.Receipt, (event, room) => {
        say({ seen: "receipt", room: room.roomId, content: event.getContent() });
    });
    client.on("crypto.verificationRequestReceived", (request) => {
        say({ seen: "verification", from: request.otherUserId });
        follow(request);
    });
}

function follow(request) {
    verification = request;
    request.on("change", async () => {
        if (request.phase === 3 && request.verifier === undefined && request.initiatedByMe) {
            const verifier = await request.startVerification("m.sas.v1");
            compare(verifier);
        }
        if (request.phase === 4 && request.verifier && !request.followed) compare(request.verifier);
        if (request.phase === 6) say({ seen: "verified" });
        if (request.phase === 5) say({ seen: "cancelled", why: request.cancellationCode });
    });
}

function compare(verifier) {
    if (verification.followed) return;
    verification.followed = true;
    verifier.on("show_sas", (sas) => {
        say({ seen: "sas", emoji: sas.sas.emoji.map((one) => one[1]) });
        sas.confirm();
    });
    const shown = verifier.getShowSasCallbacks();
    if (shown) shown.confirm();
    verifier.verify().catch(() => {});
}

async function logIn({ url, name, password, sliding }) {
    const login = await sdk.createClient({ baseUrl: url }).loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: name },
        password,
    });
    client = sdk.createClient({
        baseUrl: url,
        userId: login.user_id,
        deviceId: login.device_id,
        accessToken: login.access_token,
        timelineSupport: true,
        verificationMethods: ["m.sas.v1"],
        cryptoCallbacks: callbacks,
    });
    await client.initRustCrypto({ useIndexedDB: false });
    watch();
    const options = { initialSyncLimit: 20, threadSupport: true };
    if (sliding) {
        const wanted = { required_state: [["*", "*"]], timeline_limit: 20 };
        const list = { ranges: [[0, 50]], ...wanted };
        const lists = new Map([["all", list]]);
        options.slidingSync = new SlidingSync(url, lists, wanted, client, 2000);
    }
    const ready = new Promise((resolve) => {
        client.on("sync", (state) => ["PREPARED", "SYNCING"].includes(state) && resolve());
    });
    await client.startClient(options);
    await ready;
    return login.device_id;
}

const verbs = {
    async register({ url, name, password, sliding }) {
        const anonymous = sdk.createClient({ baseUrl: url });
        const made = await anonymous.registerRequest({
            username: name,
            password,
            auth: { type: "m.login.dummy" },
            inhibit_login: true,
        });
        return { user: made.user_id, device: await logIn({ url, name, password, sliding }) };
    },
    logIn,
    async logOut() {
        client.stopClient();
        await client.logout(true);
    },
    async dehydrate() {
        // Leaves a device behind; what makes it again is in the secret storage.
        const crypto = client.getCrypto();
        await crypto.bootstrapSecretStorage({
            createSecretStorageKey: async () => {
                const made = await crypto.createRecoveryKeyFromPassphrase();
                secret = made.privateKey;
                return made;
            },
            setupNewSecretStorage: true,
        });
        await crypto.startDehydration({ createNewKey: true });
        return Buffer.from(secret).toString("base64");
    },
    async rehydrate({ key }) {
        secret = new Uint8Array(Buffer.from(key, "base64"));
        const crypto = client.getCrypto();
        await crypto.userHasCrossSigningKeys(client.getUserId(), true);
        await crypto.bootstrapCrossSigning({});
        let found;
        client.on("dehydration.RehydrationProgress", (keys) => (found = keys));
        await crypto.startDehydration();
        return found;
    },
    async devices({ user }) {
        const found = await client.getCrypto().getUserDeviceInfo([user], true);
        return [...found.get(user).values()].map((one) => [one.deviceId, one.dehydrated]);
    },
    async crossSign({ name, password }) {
        await client.getCrypto().bootstrapCrossSigning({
            authUploadDeviceSigningKeys: (send) =>
                send({
                    type: "m.login.password",
                    identifier: { type: "m.id.user", user: name },
                    password,
                }),
        });
    },
    async createRoom(options) {
        return (await client.createRoom(options)).room_id;
    },
    async join({ room, via }) {
        await client.joinRoom(room, { viaServers: via });
    },
    async send({ room, content, type = "m.room.message" }) {
        // Only once all keys are known for whom it is to be encrypted.
        return (await client.sendEvent(room, type, content)).event_id;
    },
    async members({ room }) {
        return (await client.getRoom(room)?.getJoinedMembers())?.map((one) => one.userId) ?? [];
    },
    async encrypts({ room }) {
        return client.getCrypto().isEncryptionEnabledInRoom(room);
    },
    async call({ method, args }) {
        // Whatever else the client has a method for; its answer as JSON.
        return await client[method](...args);
    },
    async threads({ room }) {
        const known = client.getRoom(room);
        await known.createThreadsTimelineSets();
        await known.fetchRoomThreads();
        return known.getThreads().map((thread) => [thread.id, thread.length, thread.hasCurrentUserParticipated]);
    },
    async search({ words, room }) {
        const found = await client.searchRoomEvents({ term: words, filter: { rooms: [room] } });
        return found.results.map((one) => one.context.getEvent().getId());
    },
    async redact({ room, event }) {
        await client.redactEvent(room, event);
    },
    async typing({ room, typing }) {
        await client.sendTyping(room, typing, 5000);
    },
    async read({ room, event }) {
        await client.sendReadReceipt(client.getRoom(room).findEventById(event));
    },
    async upload({ text }) {
        const file = new Blob([text], { type: "text/plain" });
        return (await client.uploadContent(file, { name: "note.txt" })).content_uri;
    },
    async download({ uri }) {
        const url = client.mxcUrlToHttp(uri, undefined, undefined, undefined, false, true, true);
        const headers = { Authorization: `Bearer ${client.getAccessToken()}` };
        const answer = await fetch(url, { headers });
        return await answer.text();
    },
    async relations({ room, event, type }) {
        const found = await client.relations(room, event, type, null, { limit: 20 });
        return found.events.map((one) => one.getId());
    },
    async history({ room }) {
        const known = client.getRoom(room);
        while (await client.paginateEventTimeline(known.getLiveTimeline(), { backwards: true, limit: 50 }));
        const events = known.getLiveTimeline().getEvents();
        await Promise.all(events.map((event) => client.decryptEventIfNeeded(event)));
        return events.map((event) => event.getContent().body).filter((body) => body);
    },
    async verify({ room, user }) {
        follow(await client.getCrypto().requestVerificationDM(user, room));
    },
    async accept() {
        await verification.accept();
    },
    async trusts({ user }) {
        return (await client.getCrypto().getUserVerificationStatus(user)).isCrossSigningVerified();
    },
    async stop() {
        client?.stopClient();
        setTimeout(() => process.exit(0), 50);
    },
};

for await (const line of createInterface({ input: process.stdin })) {
    const { id, do: verb, args } = JSON.parse(line);
    verbs[verb](args ?? {}).then(
        (ok) => say({ id, ok: ok ?? null }),
        (error) => say({ id, error: String(error?.stack ?? error) }),
    );
}
