SEQUENCE clock AS bigint START 0 INCREMENT 1 MINVALUE 0 MAXVALUE 9223372036854775807 CACHE 1

TABLE access_tokens
    token_hash bytea NOT NULL
    device_nid bigint NOT NULL
    generation integer NOT NULL
    used boolean NOT NULL
    expires_ts bigint
    CONSTRAINT access_tokens_pkey PRIMARY KEY (token_hash)
    CREATE INDEX access_tokens_by_device ON public.access_tokens USING btree (device_nid)

TABLE account_data
    user_nid bigint NOT NULL
    room_nid bigint NOT NULL
    type text COLLATE "C" NOT NULL
    content bytea
    pos bigint NOT NULL
    CONSTRAINT account_data_pkey PRIMARY KEY (user_nid, room_nid, type)
    CREATE INDEX account_data_by_pos ON public.account_data USING btree (user_nid, pos)
    CREATE INDEX account_data_naming_media ON public.account_data USING gin (media_named(content) COLLATE "C") WHERE (POSITION(('\x6d78633a'::bytea) IN (content)) > 0)

TABLE accounts WITH (fillfactor=80)
    user_nid bigint NOT NULL
    version integer NOT NULL DEFAULT 0
    password_hash text COLLATE "C"
    created_day integer NOT NULL
    is_admin boolean NOT NULL DEFAULT false
    is_guest boolean NOT NULL DEFAULT false
    locked boolean NOT NULL DEFAULT false
    suspended boolean NOT NULL DEFAULT false
    deactivated boolean NOT NULL DEFAULT false
    erased boolean NOT NULL DEFAULT false
    appservice text COLLATE "C"
    CONSTRAINT accounts_pkey PRIMARY KEY (user_nid)

TABLE active_users
    user_nid bigint NOT NULL
    seen_day integer NOT NULL
    notice text COLLATE "C"
    CONSTRAINT active_users_pkey PRIMARY KEY (user_nid)
    CREATE INDEX active_users_by_day ON public.active_users USING btree (seen_day)

TABLE admin_tasks
    task_id text COLLATE "C" NOT NULL
    kind smallint NOT NULL
    room_nid bigint NOT NULL
    status text COLLATE "C" NOT NULL
    until_ts bigint NOT NULL
    result bytea NOT NULL
    CONSTRAINT admin_tasks_pkey PRIMARY KEY (task_id)
    CREATE INDEX admin_tasks_by_room ON public.admin_tasks USING btree (room_nid)
    CREATE INDEX admin_tasks_by_time ON public.admin_tasks USING btree (until_ts)

TABLE alembic_version
    version_num character varying(32) NOT NULL
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)

TABLE aliases
    alias text COLLATE "C" NOT NULL
    room_nid bigint NOT NULL
    user_nid bigint NOT NULL
    CONSTRAINT aliases_pkey PRIMARY KEY (alias)
    CREATE INDEX aliases_by_room ON public.aliases USING btree (room_nid)

TABLE app_service_transactions
    service_id text COLLATE "C" NOT NULL
    txn_id text COLLATE "C" NOT NULL
    content bytea NOT NULL
    CONSTRAINT app_service_transactions_pkey PRIMARY KEY (service_id)

TABLE backup_keys
    user_nid bigint NOT NULL
    version integer NOT NULL
    room_id text COLLATE "C" NOT NULL
    session_id text COLLATE "C" NOT NULL
    first_message_index bigint NOT NULL
    forwarded_count bigint NOT NULL
    is_verified boolean NOT NULL
    session_data bytea NOT NULL
    CONSTRAINT backup_keys_pkey PRIMARY KEY (user_nid, version, room_id, session_id)

TABLE backup_versions
    user_nid bigint NOT NULL
    version integer NOT NULL
    algorithm text COLLATE "C" NOT NULL
    auth_data bytea NOT NULL
    etag bigint NOT NULL DEFAULT 0
    deleted boolean NOT NULL DEFAULT false
    CONSTRAINT backup_versions_pkey PRIMARY KEY (user_nid, version)

TABLE blocked_rooms
    room_nid bigint NOT NULL
    user_nid bigint NOT NULL
    CONSTRAINT blocked_rooms_pkey PRIMARY KEY (room_nid)

TABLE bound_threepids
    user_nid bigint NOT NULL
    id_server text COLLATE "C" NOT NULL
    medium text COLLATE "C" NOT NULL
    address text COLLATE "C" NOT NULL
    CONSTRAINT bound_threepids_pkey PRIMARY KEY (user_nid, medium, address, id_server)

TABLE clearings
    event_nid bigint NOT NULL
    room_nid bigint NOT NULL
    user_nid bigint NOT NULL
    noted_ts bigint NOT NULL
    since bigint
    reached bigint
    done boolean NOT NULL DEFAULT false
    claimed_until bigint NOT NULL DEFAULT 0
    CONSTRAINT clearings_pkey PRIMARY KEY (event_nid)
    CREATE INDEX clearings_by_room ON public.clearings USING btree (room_nid, user_nid)
    CREATE INDEX clearings_to_do ON public.clearings USING btree (event_nid) WHERE (NOT done)

TABLE closing_rooms
    room_nid bigint NOT NULL
    CONSTRAINT closing_rooms_pkey PRIMARY KEY (room_nid)

TABLE cross_signing_keys
    user_nid bigint NOT NULL
    usage text COLLATE "C" NOT NULL
    json bytea NOT NULL
    CONSTRAINT cross_signing_keys_pkey PRIMARY KEY (user_nid, usage)

TABLE current_state WITH (fillfactor=80)
    room_nid bigint NOT NULL
    state_key_nid bigint NOT NULL
    event_nid bigint NOT NULL
    CONSTRAINT current_state_pkey PRIMARY KEY (room_nid, state_key_nid)

TABLE dead_files
    file_id text COLLATE "C" NOT NULL
    CONSTRAINT dead_files_pkey PRIMARY KEY (file_id)

TABLE dehydrated_devices
    user_nid bigint NOT NULL
    device_nid bigint NOT NULL
    data bytea NOT NULL
    CONSTRAINT dehydrated_devices_pkey PRIMARY KEY (user_nid)

TABLE delayed_events
    delay_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    delay_id text COLLATE "C" NOT NULL
    delay_hash bytea NOT NULL
    user_nid bigint NOT NULL
    device_nid bigint NOT NULL
    txn_hash bytea
    json bytea NOT NULL
    delay_ms bigint NOT NULL
    due_ts bigint NOT NULL
    claimed_until bigint NOT NULL DEFAULT 0
    finalised_ts bigint
    event_id text COLLATE "C"
    error bytea
    CONSTRAINT delayed_events_pkey PRIMARY KEY (delay_nid)
    CREATE INDEX delayed_events_by_user ON public.delayed_events USING btree (user_nid, finalised_ts)
    CREATE INDEX delayed_events_due ON public.delayed_events USING btree (due_ts) WHERE (finalised_ts IS NULL)
    CREATE UNIQUE INDEX delayed_events_by_hash ON public.delayed_events USING btree (delay_hash)
    CREATE UNIQUE INDEX delayed_events_by_transaction ON public.delayed_events USING btree (device_nid, txn_hash)

TABLE destinations WITH (fillfactor=70)
    server_nid bigint NOT NULL
    pause bigint NOT NULL DEFAULT 0
    retry_ts bigint NOT NULL DEFAULT 0
    txn_id text COLLATE "C"
    txn_content bytea
    txn_last_pos bigint
    txn_last_edu bigint
    behind bigint
    devices_behind bigint
    txn_edus bigint[]
    CONSTRAINT destinations_pkey PRIMARY KEY (server_nid)
    CREATE INDEX destinations_devices ON public.destinations USING btree (server_nid) WHERE (devices_behind IS NOT NULL)
    CREATE INDEX destinations_failing ON public.destinations USING btree (retry_ts) WHERE (pause > 0)

TABLE device_addresses
    device_nid bigint NOT NULL
    address text COLLATE "C" NOT NULL
    seen_ts bigint NOT NULL
    CONSTRAINT device_addresses_pkey PRIMARY KEY (device_nid, address)
    CREATE INDEX device_addresses_by_time ON public.device_addresses USING btree (seen_ts)

TABLE device_keys
    device_nid bigint NOT NULL
    user_nid bigint NOT NULL
    json bytea NOT NULL
    CONSTRAINT device_keys_pkey PRIMARY KEY (device_nid)
    CREATE INDEX device_keys_by_user ON public.device_keys USING btree (user_nid)

TABLE device_updates
    user_nid bigint NOT NULL
    stream_id bigint NOT NULL
    prev_id bigint
    device_id text COLLATE "C" NOT NULL
    CONSTRAINT device_updates_pkey PRIMARY KEY (user_nid)

TABLE devices WITH (fillfactor=80)
    device_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    user_nid bigint NOT NULL
    device_id text COLLATE "C" NOT NULL
    version integer NOT NULL DEFAULT 0
    display_name text COLLATE "C"
    session text COLLATE "C" NOT NULL
    last_seen_day integer NOT NULL
    confirmed_ts bigint
    CONSTRAINT devices_pkey PRIMARY KEY (device_nid)
    CONSTRAINT devices_session_key UNIQUE (session)
    CONSTRAINT devices_user_nid_device_id_key UNIQUE (user_nid, device_id)
    CREATE TRIGGER forget_addresses BEFORE DELETE ON public.devices FOR EACH ROW EXECUTE FUNCTION forget_addresses_of_device()
    CREATE TRIGGER forget_dehydrated BEFORE DELETE ON public.devices FOR EACH ROW EXECUTE FUNCTION forget_dehydrated_device()
    CREATE TRIGGER forget_keys BEFORE DELETE ON public.devices FOR EACH ROW EXECUTE FUNCTION forget_keys_of_device()
    CREATE TRIGGER forget_pushers BEFORE DELETE ON public.devices FOR EACH ROW EXECUTE FUNCTION forget_pushers_of_device()
    CREATE TRIGGER forget_sliding BEFORE DELETE ON public.devices FOR EACH ROW EXECUTE FUNCTION forget_sliding_of_device()

TABLE duties
    name text COLLATE "C" NOT NULL
    holder text COLLATE "C" NOT NULL
    until_ts bigint NOT NULL
    pos bigint NOT NULL DEFAULT 0
    CONSTRAINT duties_pkey PRIMARY KEY (name)

TABLE early_redactions
    target_nid bigint NOT NULL
    redaction_nid bigint NOT NULL
    CONSTRAINT early_redactions_pkey PRIMARY KEY (target_nid, redaction_nid)

TABLE email_validations
    sid_hash bytea NOT NULL
    purpose text COLLATE "C" NOT NULL
    address text COLLATE "C" NOT NULL
    token_hash bytea
    send_attempt bigint NOT NULL
    next_link text
    validated_ts bigint
    session_hash bytea
    expires_ts bigint NOT NULL
    CONSTRAINT email_validations_pkey PRIMARY KEY (sid_hash)
    CREATE INDEX email_validations_by_session ON public.email_validations USING btree (session_hash) WHERE (session_hash IS NOT NULL)

TABLE event_ids
    event_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    event_id text COLLATE "C" NOT NULL
    CONSTRAINT event_ids_event_id_key UNIQUE (event_id)
    CONSTRAINT event_ids_pkey PRIMARY KEY (event_nid)

TABLE events
    event_nid bigint NOT NULL
    room_nid bigint NOT NULL
    room_order bigint
    state_key_nid bigint
    group_before bigint
    origin_server_ts bigint NOT NULL
    depth bigint NOT NULL
    fate smallint NOT NULL
    auth bigint[] NOT NULL
    redacted_by bigint
    json bytea NOT NULL
    CONSTRAINT events_pkey PRIMARY KEY (event_nid)
    CREATE INDEX events_by_time ON public.events USING btree (room_nid, origin_server_ts) WHERE (room_order IS NOT NULL)
    CREATE INDEX events_naming_media ON public.events USING gin (media_named("json") COLLATE "C") WHERE ((POSITION(('\x6d78633a'::bytea) IN ("json")) > 0) AND (POSITION(('\x226d2e726f6f6d2e6d656d62657222'::bytea) IN ("json")) = 0))
    CREATE INDEX events_redacted_state ON public.events USING btree (room_nid) WHERE ((redacted_by IS NOT NULL) AND (state_key_nid IS NOT NULL))
    CREATE UNIQUE INDEX events_by_room_order ON public.events USING btree (room_nid, room_order) WHERE (room_order IS NOT NULL)

TABLE fallback_keys
    device_nid bigint NOT NULL
    algorithm text COLLATE "C" NOT NULL
    key_id text COLLATE "C" NOT NULL
    json bytea NOT NULL
    used boolean NOT NULL DEFAULT false
    CONSTRAINT fallback_keys_pkey PRIMARY KEY (device_nid, algorithm)

TABLE filters
    user_nid bigint NOT NULL
    filter_hash bytea NOT NULL
    json bytea NOT NULL
    CONSTRAINT filters_pkey PRIMARY KEY (user_nid, filter_hash)

TABLE forgotten
    user_nid bigint NOT NULL
    room_nid bigint NOT NULL
    pos bigint NOT NULL
    forgotten_ts bigint NOT NULL
    CONSTRAINT forgotten_pkey PRIMARY KEY (user_nid, room_nid)
    CREATE INDEX forgotten_by_room ON public.forgotten USING btree (room_nid)
    CREATE INDEX forgotten_by_time ON public.forgotten USING btree (forgotten_ts)

TABLE gone_devices
    device_nid bigint NOT NULL
    device_id text COLLATE "C" NOT NULL
    CONSTRAINT gone_devices_pkey PRIMARY KEY (device_nid)

TABLE incoming_transactions
    origin text COLLATE "C" NOT NULL
    txn_id text COLLATE "C" NOT NULL
    answer bytea NOT NULL
    received_ts bigint NOT NULL
    CONSTRAINT incoming_transactions_pkey PRIMARY KEY (origin, txn_id)

TABLE installation
    only_row boolean NOT NULL DEFAULT true
    server_name text COLLATE "C" NOT NULL
    epoch integer NOT NULL DEFAULT 1
    state_hash_key bytea NOT NULL
    CONSTRAINT installation_only_row_check CHECK (only_row)
    CONSTRAINT installation_pkey PRIMARY KEY (only_row)

TABLE invites
    room_nid bigint NOT NULL
    user_nid bigint NOT NULL
    state bytea NOT NULL
    json bytea NOT NULL
    version text COLLATE "C" NOT NULL
    CONSTRAINT invites_pkey PRIMARY KEY (room_nid, user_nid)

TABLE key_documents
    server_name text COLLATE "C" NOT NULL
    received_at bigint NOT NULL
    valid_until bigint NOT NULL
    json bytea NOT NULL
    CONSTRAINT key_documents_pkey PRIMARY KEY (server_name)

TABLE key_signatures
    target_nid bigint NOT NULL
    target text COLLATE "C" NOT NULL
    signer_nid bigint NOT NULL
    key_id text COLLATE "C" NOT NULL
    signature text COLLATE "C" NOT NULL
    CONSTRAINT key_signatures_pkey PRIMARY KEY (target_nid, target, signer_nid, key_id)

TABLE log
    pos bigint NOT NULL
    kind smallint NOT NULL
    room_nid bigint
    user_nid bigint
    item bigint
    CONSTRAINT log_pkey PRIMARY KEY (pos)
    CREATE INDEX log_without_events ON public.log USING btree (pos) WHERE (kind <> 1)

TABLE login_tokens
    token_hash bytea NOT NULL
    user_nid bigint NOT NULL
    expires_ts bigint NOT NULL
    CONSTRAINT login_tokens_pkey PRIMARY KEY (token_hash)
    CREATE INDEX login_tokens_by_expiry ON public.login_tokens USING btree (expires_ts)

TABLE media
    media_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    origin text COLLATE "C" NOT NULL
    media_id text COLLATE "C" NOT NULL
    user_nid bigint
    file_id text COLLATE "C"
    size bigint NOT NULL DEFAULT 0
    sha256 bytea
    content_type text COLLATE "C"
    file_name text COLLATE "C"
    created_ts bigint NOT NULL
    used_day integer NOT NULL
    quarantined_by bigint
    is_protected boolean NOT NULL DEFAULT false
    is_preview boolean NOT NULL DEFAULT false
    CONSTRAINT media_origin_media_id_key UNIQUE (origin, media_id)
    CONSTRAINT media_pkey PRIMARY KEY (media_nid)
    CREATE INDEX media_announced ON public.media USING btree (user_nid) WHERE (file_id IS NULL)
    CREATE INDEX media_by_use ON public.media USING btree (used_day)
    CREATE INDEX media_by_user ON public.media USING btree (user_nid) WHERE (user_nid IS NOT NULL)
    CREATE INDEX media_of_previews ON public.media USING btree (created_ts) WHERE is_preview

TABLE memberships WITH (fillfactor=80)
    room_nid bigint NOT NULL
    user_nid bigint NOT NULL
    membership smallint NOT NULL
    event_nid bigint NOT NULL
    pos bigint NOT NULL
    CONSTRAINT memberships_pkey PRIMARY KEY (room_nid, user_nid)
    CREATE INDEX memberships_by_user ON public.memberships USING btree (user_nid, membership)

TABLE missing_parents
    room_nid bigint NOT NULL
    event_nid bigint NOT NULL
    child_order bigint NOT NULL
    CONSTRAINT missing_parents_pkey PRIMARY KEY (room_nid, event_nid)
    CREATE INDEX missing_parents_by_child ON public.missing_parents USING btree (room_nid, child_order)

TABLE notable
    room_nid bigint NOT NULL
    room_order bigint NOT NULL
    event_nid bigint NOT NULL
    sender_nid bigint NOT NULL
    thread_nid bigint
    flags smallint NOT NULL
    mentioned bigint[]
    CONSTRAINT notable_pkey PRIMARY KEY (room_nid, room_order)

TABLE notice_rooms
    user_nid bigint NOT NULL
    room_nid bigint NOT NULL
    CONSTRAINT notice_rooms_pkey PRIMARY KEY (user_nid)
    CREATE INDEX notice_rooms_by_room ON public.notice_rooms USING btree (room_nid)

TABLE one_time_keys
    device_nid bigint NOT NULL
    algorithm text COLLATE "C" NOT NULL
    key_id text COLLATE "C" NOT NULL
    nr bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    json bytea NOT NULL
    CONSTRAINT one_time_keys_pkey PRIMARY KEY (device_nid, algorithm, key_id)
    CREATE INDEX one_time_keys_in_order ON public.one_time_keys USING btree (device_nid, algorithm, nr)

TABLE openid_tokens
    token_hash bytea NOT NULL
    user_nid bigint NOT NULL
    expires_ts bigint NOT NULL
    CONSTRAINT openid_tokens_pkey PRIMARY KEY (token_hash)

TABLE originals
    event_nid bigint NOT NULL
    until_ts bigint NOT NULL
    json bytea NOT NULL
    CONSTRAINT originals_pkey PRIMARY KEY (event_nid)
    CREATE INDEX originals_by_time ON public.originals USING btree (until_ts)

TABLE outgoing_edus
    edu_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    server_nid bigint NOT NULL
    type text COLLATE "C" NOT NULL
    key text COLLATE "C"
    content bytea NOT NULL
    CONSTRAINT outgoing_edus_pkey PRIMARY KEY (edu_nid)
    CREATE INDEX outgoing_edus_by_server ON public.outgoing_edus USING btree (server_nid, edu_nid)
    CREATE UNIQUE INDEX outgoing_edus_by_key ON public.outgoing_edus USING btree (server_nid, type, key) WHERE (key IS NOT NULL)

TABLE outgoing_events
    server_nid bigint NOT NULL
    pos bigint NOT NULL
    room_nid bigint NOT NULL
    event_nid bigint NOT NULL
    CONSTRAINT outgoing_events_pkey PRIMARY KEY (server_nid, pos)

TABLE partial_rooms
    room_nid bigint NOT NULL
    event_nid bigint NOT NULL
    resident text NOT NULL
    next_ts bigint NOT NULL
    CONSTRAINT partial_rooms_pkey PRIMARY KEY (room_nid)

TABLE profiles
    user_nid bigint NOT NULL
    fields bytea NOT NULL
    CONSTRAINT profiles_pkey PRIMARY KEY (user_nid)
    CREATE INDEX profiles_naming_media ON public.profiles USING gin (media_named(fields) COLLATE "C") WHERE (POSITION(('\x6d78633a'::bytea) IN (fields)) > 0)

TABLE published
    room_nid bigint NOT NULL
    CONSTRAINT published_pkey PRIMARY KEY (room_nid)

TABLE published_networks
    network text NOT NULL
    room_nid bigint NOT NULL
    CONSTRAINT published_networks_pkey PRIMARY KEY (network, room_nid)
    CREATE INDEX published_networks_room_nid_idx ON public.published_networks USING btree (room_nid)

TABLE push_queue
    pusher_nid bigint NOT NULL
    pos bigint NOT NULL
    room_nid bigint
    event_nid bigint
    tweaks bytea
    queued_ts bigint NOT NULL
    CONSTRAINT push_queue_pkey PRIMARY KEY (pusher_nid, pos)

TABLE push_rules
    user_nid bigint NOT NULL
    changes bytea NOT NULL
    pos bigint NOT NULL
    CONSTRAINT push_rules_pkey PRIMARY KEY (user_nid)

TABLE pushers WITH (fillfactor=80)
    pusher_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    user_nid bigint NOT NULL
    device_nid bigint NOT NULL
    app_id text COLLATE "C" NOT NULL
    pushkey text COLLATE "C" NOT NULL
    app_display_name text COLLATE "C" NOT NULL
    device_display_name text COLLATE "C" NOT NULL
    profile_tag text COLLATE "C"
    lang text COLLATE "C" NOT NULL
    data bytea NOT NULL
    set_ts bigint NOT NULL
    pos bigint NOT NULL
    pause bigint NOT NULL DEFAULT 0
    retry_ts bigint NOT NULL DEFAULT 0
    unread integer NOT NULL DEFAULT 0
    enabled boolean NOT NULL DEFAULT true
    CONSTRAINT pushers_pkey PRIMARY KEY (pusher_nid)
    CREATE INDEX pushers_by_device ON public.pushers USING btree (device_nid)
    CREATE INDEX pushers_by_key ON public.pushers USING btree (app_id, pushkey)
    CREATE UNIQUE INDEX pushers_by_user ON public.pushers USING btree (user_nid, app_id, pushkey)
    CREATE TRIGGER forget_queue BEFORE DELETE ON public.pushers FOR EACH ROW EXECUTE FUNCTION forget_queue_of_pusher()

TABLE receipts WITH (fillfactor=70)
    room_nid bigint NOT NULL
    user_nid bigint NOT NULL
    type smallint NOT NULL
    thread text COLLATE "C" NOT NULL
    event_nid bigint NOT NULL
    ts bigint NOT NULL
    pos bigint NOT NULL
    CONSTRAINT receipts_pkey PRIMARY KEY (room_nid, user_nid, type, thread)
    CREATE INDEX receipts_by_pos ON public.receipts USING btree (room_nid, pos)

TABLE refresh_tokens
    token_hash bytea NOT NULL
    device_nid bigint NOT NULL
    generation integer NOT NULL
    expires_ts bigint
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_hash)
    CREATE INDEX refresh_tokens_by_device ON public.refresh_tokens USING btree (device_nid)

TABLE registration_nonces
    nonce_hash bytea NOT NULL
    expires_ts bigint NOT NULL
    CONSTRAINT registration_nonces_pkey PRIMARY KEY (nonce_hash)
    CREATE INDEX registration_nonces_by_expiry ON public.registration_nonces USING btree (expires_ts)

TABLE registration_tokens
    token text COLLATE "C" NOT NULL
    uses_allowed integer
    pending integer NOT NULL DEFAULT 0
    completed integer NOT NULL DEFAULT 0
    expires_ts bigint
    CONSTRAINT registration_tokens_pkey PRIMARY KEY (token)

TABLE relations
    event_nid bigint NOT NULL
    room_nid bigint NOT NULL
    parent_nid bigint NOT NULL
    room_order bigint NOT NULL
    rel_type text COLLATE "C" NOT NULL
    type text COLLATE "C" NOT NULL
    sender text COLLATE "C" NOT NULL
    key text COLLATE "C"
    CONSTRAINT relations_pkey PRIMARY KEY (event_nid)
    CREATE INDEX relations_by_parent ON public.relations USING btree (parent_nid, rel_type, room_order)
    CREATE INDEX relations_by_thread ON public.relations USING btree (room_nid, parent_nid, room_order) WHERE (rel_type = 'm.thread'::text)

TABLE remote_device_lists
    user_nid bigint NOT NULL
    server_nid bigint NOT NULL
    stream_id bigint
    stale boolean NOT NULL
    changes bigint NOT NULL DEFAULT 0
    wanted boolean NOT NULL
    pause bigint NOT NULL DEFAULT 0
    next_ts bigint NOT NULL DEFAULT 0
    master_key bytea
    self_signing_key bytea
    CONSTRAINT remote_device_lists_pkey PRIMARY KEY (user_nid)
    CREATE INDEX remote_device_lists_by_server ON public.remote_device_lists USING btree (server_nid)
    CREATE INDEX remote_device_lists_due ON public.remote_device_lists USING btree (next_ts) WHERE (stale AND wanted)

TABLE remote_devices
    user_nid bigint NOT NULL
    device_id text COLLATE "C" NOT NULL
    json bytea NOT NULL
    CONSTRAINT remote_devices_pkey PRIMARY KEY (user_nid, device_id)

TABLE reports
    report_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    user_nid bigint NOT NULL
    room_nid bigint
    event_nid bigint
    reported_nid bigint
    reason text NOT NULL
    ts bigint NOT NULL
    sender_nid bigint
    CONSTRAINT reports_pkey PRIMARY KEY (report_nid)
    CREATE INDEX reports_by_user ON public.reports USING btree (user_nid, ts)
    CREATE INDEX reports_of_events ON public.reports USING btree (report_nid) WHERE (event_nid IS NOT NULL)

TABLE room_servers WITH (fillfactor=80)
    room_nid bigint NOT NULL
    server_nid bigint NOT NULL
    joined integer NOT NULL
    CONSTRAINT room_servers_pkey PRIMARY KEY (room_nid, server_nid)
    CREATE INDEX room_servers_by_server ON public.room_servers USING btree (server_nid)

TABLE rooms WITH (fillfactor=50)
    room_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    room_id text COLLATE "C" NOT NULL
    version text COLLATE "C"
    head bigint NOT NULL DEFAULT 0
    group_nid bigint
    extremities bigint[] NOT NULL DEFAULT '{}'::bigint[]
    lifetime bigint
    CONSTRAINT rooms_pkey PRIMARY KEY (room_nid)
    CONSTRAINT rooms_room_id_key UNIQUE (room_id)
    CREATE INDEX rooms_with_lifetime ON public.rooms USING btree (room_nid) WHERE (lifetime IS NOT NULL)

TABLE searchable
    event_nid bigint NOT NULL
    room_nid bigint NOT NULL
    room_order bigint NOT NULL
    key smallint NOT NULL
    words tsvector NOT NULL
    CONSTRAINT searchable_pkey PRIMARY KEY (event_nid)
    CREATE INDEX searchable_by_word ON public.searchable USING gin (words)

TABLE sent
    device_nid bigint NOT NULL
    txn_hash bytea NOT NULL
    event_nid bigint NOT NULL
    sent_ts bigint NOT NULL
    txn_id text COLLATE "C"
    CONSTRAINT sent_pkey PRIMARY KEY (device_nid, txn_hash)
    CREATE INDEX sent_by_event ON public.sent USING btree (event_nid)
    CREATE INDEX sent_by_time ON public.sent USING btree (sent_ts)

TABLE server_keys
    server_name text COLLATE "C" NOT NULL
    key_id text COLLATE "C" NOT NULL
    key bytea NOT NULL
    valid_until bigint NOT NULL
    is_old boolean NOT NULL
    source smallint NOT NULL
    CONSTRAINT server_keys_pkey PRIMARY KEY (server_name, key_id)

TABLE servers
    server_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    server_name text COLLATE "C" NOT NULL
    CONSTRAINT servers_pkey PRIMARY KEY (server_nid)
    CONSTRAINT servers_server_name_key UNIQUE (server_name)

TABLE sliding_positions
    version bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    device_nid bigint NOT NULL
    conn_id text COLLATE "C" NOT NULL
    used_day integer NOT NULL
    state bytea NOT NULL
    CONSTRAINT sliding_positions_pkey PRIMARY KEY (version)
    CREATE INDEX sliding_positions_by_device ON public.sliding_positions USING btree (device_nid, conn_id, version)
    CREATE INDEX sliding_positions_by_use ON public.sliding_positions USING btree (used_day)

TABLE state_changes
    room_nid bigint NOT NULL
    pos bigint NOT NULL
    state_key_nid bigint NOT NULL
    old_event_nid bigint
    new_event_nid bigint
    CONSTRAINT state_changes_pkey PRIMARY KEY (room_nid, pos, state_key_nid)

TABLE state_groups
    group_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    room_nid bigint NOT NULL
    parent_nid bigint
    step integer NOT NULL
    size integer NOT NULL
    digest bytea NOT NULL
    records bytea STORAGE "e" NOT NULL
    CONSTRAINT state_groups_pkey PRIMARY KEY (group_nid)
    CREATE INDEX state_groups_by_digest ON public.state_groups USING btree (room_nid, digest)

TABLE state_keys
    state_key_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    type text COLLATE "C" NOT NULL
    state_key text COLLATE "C" NOT NULL
    CONSTRAINT state_keys_pkey PRIMARY KEY (state_key_nid)
    CONSTRAINT state_keys_type_state_key_key UNIQUE (type, state_key)

TABLE sticky_events
    event_nid bigint NOT NULL
    room_nid bigint NOT NULL
    expires_ts bigint NOT NULL
    is_ours boolean NOT NULL
    pos bigint
    CONSTRAINT sticky_events_pkey PRIMARY KEY (event_nid)
    CREATE INDEX sticky_events_by_end ON public.sticky_events USING btree (expires_ts)
    CREATE INDEX sticky_events_by_room ON public.sticky_events USING btree (room_nid, expires_ts)

TABLE thread_subscriptions
    user_nid bigint NOT NULL
    room_nid bigint NOT NULL
    thread_nid bigint NOT NULL
    subscribed boolean NOT NULL
    automatic boolean NOT NULL
    pos bigint NOT NULL
    CONSTRAINT thread_subscriptions_pkey PRIMARY KEY (user_nid, thread_nid)
    CREATE INDEX thread_subscriptions_by_change ON public.thread_subscriptions USING btree (user_nid, pos)
    CREATE INDEX thread_subscriptions_by_room ON public.thread_subscriptions USING btree (room_nid)

TABLE threepids
    medium text COLLATE "C" NOT NULL
    address text COLLATE "C" NOT NULL
    user_nid bigint NOT NULL
    validated_ts bigint NOT NULL
    added_ts bigint NOT NULL
    CONSTRAINT threepids_pkey PRIMARY KEY (medium, address)
    CREATE INDEX threepids_by_user ON public.threepids USING btree (user_nid)

TABLE thumbnails
    media_nid bigint NOT NULL
    width integer NOT NULL
    height integer NOT NULL
    is_cropped boolean NOT NULL
    file_id text COLLATE "C" NOT NULL
    size bigint NOT NULL
    content_type text COLLATE "C" NOT NULL
    CONSTRAINT thumbnails_pkey PRIMARY KEY (media_nid, width, height, is_cropped)

TABLE to_device
    device_nid bigint NOT NULL
    pos bigint NOT NULL
    json bytea NOT NULL
    CONSTRAINT to_device_pkey PRIMARY KEY (device_nid, pos)

TABLE to_device_done
    sender text COLLATE "C" NOT NULL
    txn_id text COLLATE "C" NOT NULL
    done_ts bigint NOT NULL
    CONSTRAINT to_device_done_pkey PRIMARY KEY (sender, txn_id)
    CREATE INDEX to_device_done_by_time ON public.to_device_done USING btree (done_ts)

TABLE uia_sessions
    session_hash bytea NOT NULL
    operation text COLLATE "C" NOT NULL
    user_nid bigint
    binding bytea NOT NULL
    completed text[] COLLATE "C" NOT NULL
    registration_token text COLLATE "C"
    made_user_nid bigint
    expires_ts bigint NOT NULL
    CONSTRAINT uia_sessions_pkey PRIMARY KEY (session_hash)
    CREATE INDEX uia_sessions_by_expiry ON public.uia_sessions USING btree (expires_ts)

UNLOGGED TABLE under_way
    digest bytea NOT NULL
    holder bytea NOT NULL
    until_ts bigint NOT NULL
    CONSTRAINT under_way_pkey PRIMARY KEY (digest)

TABLE unwanted_media
    media_nid bigint NOT NULL
    event_nid bigint NOT NULL
    due_ts bigint NOT NULL
    CONSTRAINT unwanted_media_pkey PRIMARY KEY (media_nid, event_nid)
    CREATE INDEX unwanted_media_due ON public.unwanted_media USING btree (due_ts)

TABLE user_words
    word text COLLATE "C" NOT NULL
    user_nid bigint NOT NULL
    CONSTRAINT user_words_pkey PRIMARY KEY (word, user_nid)
    CREATE INDEX user_words_by_user ON public.user_words USING btree (user_nid)

TABLE users
    user_nid bigint NOT NULL GENERATED ALWAYS AS IDENTITY
    user_id text COLLATE "C" NOT NULL
    CONSTRAINT users_pkey PRIMARY KEY (user_nid)
    CONSTRAINT users_user_id_key UNIQUE (user_id)

TABLE vanishing_events
    event_nid bigint NOT NULL
    due_ts bigint NOT NULL
    CONSTRAINT vanishing_events_pkey PRIMARY KEY (event_nid)
    CREATE INDEX vanishing_events_due ON public.vanishing_events USING btree (due_ts)

CREATE OR REPLACE FUNCTION public.admit_active(p_user bigint, p_today integer, p_since integer, p_most bigint)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE active_users SET seen_day = greatest(seen_day, p_today)
     WHERE user_nid = p_user AND seen_day >= p_since;
    IF FOUND THEN
        RETURN true;
    END IF;
    PERFORM pg_advisory_xact_lock(7310868735949794664);  -- who comes next is counted
    IF count_active(p_since) >= p_most THEN
        RETURN false;
    END IF;
    INSERT INTO active_users AS old (user_nid, seen_day) VALUES (p_user, p_today)
    ON CONFLICT (user_nid) DO UPDATE SET seen_day = greatest(old.seen_day, excluded.seen_day);
    RETURN true;
END
$function$

CREATE OR REPLACE FUNCTION public.append_batch(r_room bigint[], r_head bigint[], r_version text[], r_group bigint[], r_extremities text[], e_room bigint[], e_event bigint[], e_key bigint[], e_group bigint[], e_ts bigint[], e_depth bigint[], e_fate smallint[], e_member bigint[], e_auth text[], e_json bytea[], e_id text[], c_room bigint[], c_event bigint[], c_key bigint[], c_old bigint[], c_new bigint[], m_room bigint[], m_event bigint[], m_user bigint[], m_membership smallint[], m_own bigint[], s_room bigint[], s_server bigint[], s_delta integer[], g_room bigint[], g_group bigint[], g_parent bigint[], g_step integer[], g_size integer[], g_digest bytea[], g_records bytea[], t_room bigint[], t_device bigint[], t_hash bytea[], t_event bigint[], t_ts bigint[], t_txn_id text[], x_room bigint[], x_event bigint[], x_redaction bigint[], x_json bytea[], x_until bigint[], l_event bigint[], l_parent bigint[], l_rel_type text[], l_type text[], l_sender text[], l_key text[], n_event bigint[], n_sender bigint[], n_thread bigint[], n_flags smallint[], n_mentioned text[], f_event bigint[], f_key smallint[], f_text text[], p_room bigint[], p_lifetime bigint[])
 RETURNS TABLE(event_nid bigint, pos bigint)
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
DECLARE
    locked bigint[];
    base bigint;
    taken bigint;
BEGIN
    SELECT array_agg(l.room_nid) INTO locked FROM (
        SELECT r.room_nid
          FROM rooms r
          JOIN unnest(r_room, r_head) AS expected (room_nid, head) ON r.room_nid = expected.room_nid
         WHERE r.head = expected.head AND pg_try_advisory_xact_lock(r.room_nid)
         ORDER BY r.room_nid
           FOR UPDATE OF r SKIP LOCKED
    ) l;
    IF locked IS NULL THEN
        RETURN;
    END IF;

    -- Whoever sends something hardly ever does so again, so nobody looks before.
    IF cardinality(t_hash) > 0 AND EXISTS (
        SELECT FROM sent s
          JOIN unnest(t_device, t_hash) AS t (device_nid, txn_hash)
            ON s.device_nid = t.device_nid AND s.txn_hash = t.txn_hash
    ) THEN
        RETURN QUERY SELECT NULL::bigint, NULL::bigint;
        RETURN;
    END IF;

    -- Sorted, as whoever interns them does: nobody waits for another in a circle.
    INSERT INTO event_ids (event_nid, event_id)
    OVERRIDING SYSTEM VALUE
    SELECT e.event_nid, e.event_id
      FROM unnest(e_room, e_event, e_id) AS e (room_nid, event_nid, event_id)
     WHERE e.event_id IS NOT NULL AND e.room_nid = ANY (locked)
     ORDER BY e.event_id;

    INSERT INTO state_groups (group_nid, room_nid, parent_nid, step, size, digest, records)
    OVERRIDING SYSTEM VALUE
    SELECT g.group_nid, g.room_nid, g.parent_nid, g.step, g.size, g.digest, g.records
      FROM unnest(g_group, g_room, g_parent, g_step, g_size, g_digest, g_records)
           AS g (group_nid, room_nid, parent_nid, step, size, digest, records)
     WHERE g.room_nid = ANY (locked);

    UPDATE rooms r
       SET head = r.head + 1,
           version = coalesce(new.version, r.version),
           group_nid = new.group_nid,
           extremities = new.extremities::bigint[]
      FROM unnest(r_room, r_version, r_group, r_extremities)
           AS new (room_nid, version, group_nid, extremities)
     WHERE r.room_nid = new.room_nid AND r.room_nid = ANY (locked);
    IF cardinality(p_room) > 0 THEN
        UPDATE rooms r SET lifetime = p.lifetime
          FROM unnest(p_room, p_lifetime) AS p (room_nid, lifetime)
         WHERE r.room_nid = p.room_nid AND r.room_nid = ANY (locked);
    END IF;

    INSERT INTO sent (device_nid, txn_hash, event_nid, sent_ts, txn_id)
    SELECT t.device_nid, t.txn_hash, t.event_nid, t.sent_ts, t.txn_id
      FROM unnest(t_room, t_device, t_hash, t_event, t_ts, t_txn_id)
           AS t (room_nid, device_nid, txn_hash, event_nid, sent_ts, txn_id)
     WHERE t.room_nid = ANY (locked)
     ORDER BY t.device_nid, t.txn_hash;

    INSERT INTO room_servers AS old (room_nid, server_nid, joined)
    SELECT s.room_nid, s.server_nid, s.delta
      FROM unnest(s_room, s_server, s_delta) AS s (room_nid, server_nid, delta)
     WHERE s.room_nid = ANY (locked)
    ON CONFLICT (room_nid, server_nid) DO UPDATE SET joined = old.joined + excluded.joined;

    -- What is redacted is gone with the redaction's own commit.
    IF cardinality(x_event) > 0 THEN
        PERFORM redact_events(array_agg(x.event_nid), array_agg(x.redaction), array_agg(x.json),
                              array_agg(x.until_ts))
           FROM unnest(x_room, x_event, x_redaction, x_json, x_until)
                AS x (room_nid, event_nid, redaction, json, until_ts)
          WHERE x.room_nid = ANY (locked);
    END IF;

    -- Nothing below can wait for anybody: all of it is under the rooms' locks.
    PERFORM pg_advisory_xact_lock(7310868735949794660);
    SELECT last_value INTO base FROM clock;
    SELECT count(*) INTO taken FROM unnest(e_room) AS e (room_nid) WHERE e.room_nid = ANY (locked);
    PERFORM setval('clock', base + taken);

    RETURN QUERY
    WITH numbered AS (
        SELECT e.*, base + row_number() OVER (ORDER BY e.nr) AS pos
          FROM unnest(e_room, e_event, e_key, e_group, e_ts, e_depth, e_fate, e_member, e_auth, e_json)
               WITH ORDINALITY
               AS e (room_nid, event_nid, key, group_nid, ts, depth, fate, member, auth, json,
                     nr)
         WHERE e.room_nid = ANY (locked)
    ), written AS (
        INSERT INTO events (event_nid, room_nid, room_order, state_key_nid, group_before,
                            origin_server_ts, depth, fate, auth, json)
        SELECT n.event_nid, n.room_nid, n.pos << 24, n.key, n.group_nid, n.ts, n.depth, n.fate,
               n.auth::bigint[], n.json
          FROM numbered n
        -- It may have been known before, without a place.
        ON CONFLICT (event_nid) DO UPDATE
           SET room_order = excluded.room_order, group_before = excluded.group_before,
               fate = excluded.fate
    ), logged AS (
        INSERT INTO log (pos, kind, room_nid, user_nid, item)
        SELECT n.pos, 1, n.room_nid, n.member, n.event_nid FROM numbered n
    ), related AS (
        INSERT INTO relations (event_nid, room_nid, parent_nid, room_order, rel_type, type, sender,
                               key)
        SELECT l.event_nid, n.room_nid, l.parent_nid, n.pos << 24, l.rel_type, l.type, l.sender,
               l.key
          FROM unnest(l_event, l_parent, l_rel_type, l_type, l_sender, l_key)
               AS l (event_nid, parent_nid, rel_type, type, sender, key)
          JOIN numbered n ON n.event_nid = l.event_nid
    ), counted AS (
        INSERT INTO notable (room_nid, room_order, event_nid, sender_nid, thread_nid, flags,
                             mentioned)
        SELECT n.room_nid, n.pos << 24, n.event_nid, c.sender_nid, c.thread_nid, c.flags,
               c.mentioned::bigint[]
          FROM unnest(n_event, n_sender, n_thread, n_flags, n_mentioned)
               AS c (event_nid, sender_nid, thread_nid, flags, mentioned)
          JOIN numbered n ON n.event_nid = c.event_nid
    ), findable AS (
        INSERT INTO searchable (event_nid, room_nid, room_order, key, words)
        SELECT f.event_nid, n.room_nid, n.pos << 24, f.key, to_tsvector('simple', f.text)
          FROM unnest(f_event, f_key, f_text) AS f (event_nid, key, text)
          JOIN numbered n ON n.event_nid = f.event_nid
    ), changed AS (
        INSERT INTO state_changes (room_nid, pos, state_key_nid, old_event_nid, new_event_nid)
        SELECT c.room_nid, n.pos, c.key, c.old, c.new
          FROM unnest(c_room, c_event, c_key, c_old, c_new) AS c (room_nid, event_nid, key, old, new)
          JOIN numbered n ON n.event_nid = c.event_nid
    ), left_out AS (
        DELETE FROM current_state now
         USING unnest(c_room, c_key, c_new) AS c (room_nid, key, new)
         WHERE c.new IS NULL AND c.room_nid = ANY (locked)
           AND now.room_nid = c.room_nid AND now.state_key_nid = c.key
    ), entered AS (
        INSERT INTO current_state AS now (room_nid, state_key_nid, event_nid)
        SELECT DISTINCT ON (c.room_nid, c.key) c.room_nid, c.key, c.new
          FROM unnest(c_room, c_event, c_key, c_new) WITH ORDINALITY
               AS c (room_nid, event_nid, key, new, nr)
         WHERE c.room_nid = ANY (locked) AND c.new IS NOT NULL
         ORDER BY c.room_nid, c.key, c.nr DESC
        ON CONFLICT (room_nid, state_key_nid) DO UPDATE SET event_nid = excluded.event_nid
    ), joined AS (
        INSERT INTO memberships AS now (room_nid, user_nid, membership, event_nid, pos)
        SELECT DISTINCT ON (m.room_nid, m.user_nid)
               m.room_nid, m.user_nid, m.membership, m.own_nid, n.pos
          FROM unnest(m_room, m_event, m_user, m_membership, m_own) WITH ORDINALITY
               AS m (room_nid, event_nid, user_nid, membership, own_nid, nr)
          JOIN numbered n ON n.event_nid = m.event_nid
         ORDER BY m.room_nid, m.user_nid, m.nr DESC
        ON CONFLICT (room_nid, user_nid) DO UPDATE
           SET membership = excluded.membership, event_nid = excluded.event_nid, pos = excluded.pos
    )
    SELECT n.event_nid, n.pos FROM numbered n;

    PERFORM pg_notify('clock', (base + taken)::text);
END
$function$

CREATE OR REPLACE FUNCTION public.append_log(kinds smallint[], rooms bigint[], users bigint[], items bigint[])
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    base bigint;
    taken bigint := coalesce(cardinality(kinds), 0);
BEGIN
    IF taken = 0 THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(7310868735949794660);
    SELECT last_value INTO base FROM clock;
    PERFORM setval('clock', base + taken);
    INSERT INTO log (pos, kind, room_nid, user_nid, item)
    SELECT base + e.nr, e.kind, e.room_nid, e.user_nid, e.item
      FROM unnest(kinds, rooms, users, items) WITH ORDINALITY
           AS e (kind, room_nid, user_nid, item, nr);
    PERFORM pg_notify('clock', (base + taken)::text);
    RETURN base + 1;
END
$function$

CREATE OR REPLACE FUNCTION public.claim_rooms(rooms bigint[], patience integer)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM set_config('lock_timeout', patience || 'ms', true);
    PERFORM pg_advisory_lock(room) FROM (SELECT unnest(rooms) AS room ORDER BY room) sorted;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    PERFORM pg_advisory_unlock_all();
    PERFORM pg_terminate_backend(a.pid)
       FROM pg_locks l
       JOIN pg_stat_activity a ON a.pid = l.pid
       JOIN unnest(rooms) AS room
         ON l.classid = (room >> 32)::int::oid AND l.objid = (room & 4294967295)::oid
      WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
        AND l.database = a.datid AND a.datname = current_database()
        AND a.state = 'idle' AND a.state_change < clock_timestamp() - interval '500 ms';
    RETURN false;
END
$function$

CREATE OR REPLACE FUNCTION public.count_active(p_since integer)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
    SELECT count(*)
      FROM active_users u JOIN accounts a ON a.user_nid = u.user_nid
     WHERE u.seen_day >= p_since AND NOT a.deactivated
$function$

CREATE OR REPLACE FUNCTION public.forget_addresses_of_device()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM device_addresses WHERE device_nid = OLD.device_nid;
    RETURN OLD;
END
$function$

CREATE OR REPLACE FUNCTION public.forget_dehydrated_device()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM dehydrated_devices
     WHERE user_nid = OLD.user_nid AND device_nid = OLD.device_nid;
    RETURN OLD;
END
$function$

CREATE OR REPLACE FUNCTION public.forget_keys_of_device()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM device_keys WHERE device_nid = OLD.device_nid;
    IF FOUND THEN
        INSERT INTO gone_devices VALUES (OLD.device_nid, OLD.device_id) ON CONFLICT DO NOTHING;
    END IF;
    DELETE FROM one_time_keys WHERE device_nid = OLD.device_nid;
    DELETE FROM fallback_keys WHERE device_nid = OLD.device_nid;
    DELETE FROM to_device WHERE device_nid = OLD.device_nid;
    RETURN OLD;
END
$function$

CREATE OR REPLACE FUNCTION public.forget_pushers_of_device()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM pushers WHERE device_nid = OLD.device_nid;
    RETURN OLD;
END
$function$

CREATE OR REPLACE FUNCTION public.forget_queue_of_pusher()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM push_queue WHERE pusher_nid = OLD.pusher_nid;
    RETURN OLD;
END
$function$

CREATE OR REPLACE FUNCTION public.forget_sliding_of_device()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM sliding_positions WHERE device_nid = OLD.device_nid;
    RETURN OLD;
END
$function$

CREATE OR REPLACE FUNCTION public.forget_transactions(gone bigint[])
 RETURNS void
 LANGUAGE sql
AS $function$
    UPDATE destinations d
       SET txn_id = NULL, txn_content = NULL, txn_last_pos = NULL, txn_last_edu = NULL
     WHERE d.pause > 0 AND d.txn_id IS NOT NULL
       AND EXISTS (SELECT FROM events e
                     JOIN outgoing_events o
                       ON o.server_nid = d.server_nid AND o.pos = e.room_order >> 24
                    WHERE e.event_nid = ANY (gone) AND o.pos <= d.txn_last_pos)
$function$

CREATE OR REPLACE FUNCTION public.media_named(said bytea)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
    SELECT coalesce(array_agg(DISTINCT replace(found[1], '\', '')), '{}')
      FROM regexp_matches(encode(said, 'escape'),
                          'mxc:(?:\\{0,2}/){2}([][A-Za-z0-9.:-]+\\{0,2}/[A-Za-z0-9_-]+)', 'g')
           AS found
     WHERE length(found[1]) <= 600  -- longer than any; an index could not hold it
$function$

CREATE OR REPLACE FUNCTION public.put_dehydrated_device(p_user bigint, p_id text, p_name text, p_session text, p_day integer, p_data bytea, p_keys bytea, p_one_time_algorithms text[], p_one_time_ids text[], p_one_time_keys bytea[], p_fallback_algorithms text[], p_fallback_ids text[], p_fallback_keys bytea[], p_kinds smallint[])
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    before bigint;
    made bigint;
    kinds smallint[] := p_kinds[2:];
    items bigint[];
BEGIN
    -- Two that are put at a time wait for each other here.
    UPDATE accounts SET version = version + 1 WHERE user_nid = p_user AND NOT deactivated;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT device_nid INTO before FROM dehydrated_devices WHERE user_nid = p_user;
    IF EXISTS (SELECT FROM devices WHERE user_nid = p_user AND device_id = p_id
                                     AND device_nid IS DISTINCT FROM before) THEN
        RETURN NULL;
    END IF;
    DELETE FROM devices WHERE device_nid = before;
    INSERT INTO devices (user_nid, device_id, display_name, session, last_seen_day)
    VALUES (p_user, p_id, p_name, p_session, p_day)
    RETURNING device_nid INTO made;
    INSERT INTO dehydrated_devices (user_nid, device_nid, data) VALUES (p_user, made, p_data);
    INSERT INTO device_keys (device_nid, user_nid, json) VALUES (made, p_user, p_keys);
    INSERT INTO one_time_keys (device_nid, algorithm, key_id, json)
    SELECT made, k.algorithm, k.key_id, k.json
      FROM unnest(p_one_time_algorithms, p_one_time_ids, p_one_time_keys)
           WITH ORDINALITY AS k (algorithm, key_id, json, nr)
     ORDER BY k.nr;
    INSERT INTO fallback_keys (device_nid, algorithm, key_id, json)
    SELECT made, k.algorithm, k.key_id, k.json
      FROM unnest(p_fallback_algorithms, p_fallback_ids, p_fallback_keys)
           AS k (algorithm, key_id, json)
    ON CONFLICT DO NOTHING;
    items := array_fill(made, ARRAY[cardinality(kinds)]);
    IF before IS NOT NULL THEN
        kinds := p_kinds;
        items := before || items;
    END IF;
    RETURN append_log(kinds, array_fill(NULL::bigint, ARRAY[cardinality(kinds)]),
                      array_fill(p_user, ARRAY[cardinality(kinds)]), items)
           + cardinality(kinds) - 1;
END
$function$

CREATE OR REPLACE FUNCTION public.redact_events(x_event bigint[], x_redaction bigint[], x_json bytea[], x_until bigint[])
 RETURNS void
 LANGUAGE sql
AS $function$
    INSERT INTO originals (event_nid, until_ts, json)
    SELECT e.event_nid, x.until_ts, e.json
      FROM unnest(x_event, x_until) AS x (event_nid, until_ts)
      JOIN events e ON e.event_nid = x.event_nid
     WHERE x.until_ts IS NOT NULL AND e.redacted_by IS NULL
    ON CONFLICT DO NOTHING;
    UPDATE events e SET json = x.json, redacted_by = x.redaction
      FROM unnest(x_event, x_redaction, x_json) AS x (event_nid, redaction, json)
     WHERE e.event_nid = x.event_nid AND e.redacted_by IS NULL;
    DELETE FROM relations l WHERE l.event_nid = ANY (x_event);
    DELETE FROM searchable f WHERE f.event_nid = ANY (x_event);
    DELETE FROM notable n USING events e
     WHERE e.event_nid = ANY (x_event) AND n.room_nid = e.room_nid AND n.room_order = e.room_order;
    DELETE FROM delayed_events d USING sent s
     WHERE s.event_nid = ANY (x_event) AND d.delay_hash = s.txn_hash
       AND d.finalised_ts IS NOT NULL;
    SELECT forget_transactions(x_event);
$function$

CREATE OR REPLACE FUNCTION public.set_pusher(p_user bigint, p_device bigint, p_app_id text, p_pushkey text, p_app_name text, p_device_name text, p_tag text, p_lang text, p_data bytea, p_append boolean, p_now bigint, p_most integer, p_kind smallint)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    others bigint[];
    placed bigint;
BEGIN
    -- Of two people with one key, one after the other: else both could keep it.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_app_id || ' ' || p_pushkey, 7310868735949794662));
    PERFORM FROM accounts WHERE user_nid = p_user AND NOT deactivated FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM FROM devices WHERE device_nid = p_device AND user_nid = p_user FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF (SELECT count(*) FROM pushers
         WHERE user_nid = p_user AND (app_id, pushkey) <> (p_app_id, p_pushkey)) >= p_most THEN
        RETURN NULL;
    END IF;
    WITH gone AS (
        DELETE FROM pushers
         WHERE NOT p_append AND app_id = p_app_id AND pushkey = p_pushkey AND user_nid <> p_user
        RETURNING user_nid
    )
    SELECT coalesce(array_agg(user_nid), '{}') INTO others FROM gone;
    INSERT INTO pushers AS old
           (user_nid, device_nid, app_id, pushkey, app_display_name, device_display_name,
            profile_tag, lang, data, set_ts, pos)
    VALUES (p_user, p_device, p_app_id, p_pushkey, p_app_name, p_device_name, p_tag, p_lang, p_data,
            p_now, 0)
    ON CONFLICT (user_nid, app_id, pushkey) DO UPDATE
       SET device_nid = excluded.device_nid, app_display_name = excluded.app_display_name,
           device_display_name = excluded.device_display_name,
           profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data,
           set_ts = excluded.set_ts, pause = 0, retry_ts = 0;
    SELECT append_log(array_agg(p_kind), array_agg(NULL::bigint), array_agg(u),
                      array_agg(NULL::bigint)) + count(*) - 1
      INTO placed FROM unnest(others || p_user) AS u;
    -- A new one begins here; the clock is still held, so nothing comes in between.
    UPDATE pushers SET pos = placed
     WHERE user_nid = p_user AND app_id = p_app_id AND pushkey = p_pushkey AND pos = 0;
    RETURN placed;
END
$function$

CREATE OR REPLACE FUNCTION public.set_pusher(p_user bigint, p_device bigint, p_app_id text, p_pushkey text, p_app_name text, p_device_name text, p_tag text, p_lang text, p_data bytea, p_enabled boolean, p_append boolean, p_now bigint, p_most integer, p_kind smallint)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    others bigint[];
    placed bigint;
BEGIN
    -- Of two people with one key, one after the other: else both could keep it.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_app_id || ' ' || p_pushkey, 7310868735949794662));
    PERFORM FROM accounts WHERE user_nid = p_user AND NOT deactivated FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM FROM devices WHERE device_nid = p_device AND user_nid = p_user FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF (SELECT count(*) FROM pushers
         WHERE user_nid = p_user AND (app_id, pushkey) <> (p_app_id, p_pushkey)) >= p_most THEN
        RETURN NULL;
    END IF;
    WITH gone AS (
        DELETE FROM pushers
         WHERE NOT p_append AND app_id = p_app_id AND pushkey = p_pushkey AND user_nid <> p_user
        RETURNING user_nid
    )
    SELECT coalesce(array_agg(user_nid), '{}') INTO others FROM gone;
    INSERT INTO pushers AS old
           (user_nid, device_nid, app_id, pushkey, app_display_name, device_display_name,
            profile_tag, lang, data, enabled, set_ts, pos)
    VALUES (p_user, p_device, p_app_id, p_pushkey, p_app_name, p_device_name, p_tag, p_lang, p_data,
            coalesce(p_enabled, true), p_now, 0)
    ON CONFLICT (user_nid, app_id, pushkey) DO UPDATE
       SET device_nid = CASE WHEN p_enabled IS NULL THEN excluded.device_nid
                             ELSE old.device_nid END,
           app_display_name = excluded.app_display_name,
           device_display_name = excluded.device_display_name,
           profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data,
           set_ts = excluded.set_ts, pause = 0, retry_ts = 0, enabled = excluded.enabled,
           pos = CASE WHEN excluded.enabled AND NOT old.enabled THEN 0 ELSE old.pos END;
    SELECT append_log(array_agg(p_kind), array_agg(NULL::bigint), array_agg(u),
                      array_agg(NULL::bigint)) + count(*) - 1
      INTO placed FROM unnest(others || p_user) AS u;
    -- What is switched off tells nothing that it had to, and begins anew when it is switched on.
    DELETE FROM push_queue q USING pushers p
     WHERE q.pusher_nid = p.pusher_nid AND p.user_nid = p_user AND p.app_id = p_app_id
       AND p.pushkey = p_pushkey AND (NOT p.enabled OR p.pos = 0);
    -- A new one begins here; the clock is still held, so nothing comes in between.
    UPDATE pushers SET pos = placed
     WHERE user_nid = p_user AND app_id = p_app_id AND pushkey = p_pushkey AND pos = 0;
    RETURN placed;
END
$function$
