-- Every table of the registry. Who may read and write is V2's matter, what a write does V3's and V4's.
--
-- Migrations name no schema: they run with the registry's schema in front of the search path, and `@schema@` stands
-- for its quoted name where a function has to spell it. Tables are owned by the login that migrates. `@api@` is the schema
-- of what logins may use, which has no table (V7, V8).

CREATE TYPE project_role AS ENUM ('ADMIN', 'DEVELOPER', 'VIEWER');
CREATE TYPE user_kind AS ENUM ('person', 'service', 'owner');
CREATE TYPE key_tracking AS ENUM ('tracked', 'independent');

-- What is copied into the audit log, conditions, Events or errors has a form: a value that somebody puts there by mistake is
-- refused. These are the program's own rules (src/core/names.rs, src/core/value_hash.rs).
--
-- Lengths are counted, not part of a pattern: to match against {1,253} takes a thousand times as long as against +, and some of these
-- are asked for every row of a statement.
CREATE FUNCTION is_label(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT name ~ '^[a-zA-Z0-9][-._a-zA-Z0-9]*$' AND length(name) <= 63 $$;

CREATE FUNCTION is_value_hash(hash text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT right(hash, 64) ~ '^[0-9a-f]+$'
        AND (length(hash) = 64 OR (left(hash, -64) ~ '^h1:[-_a-zA-Z0-9]+:$' AND length(hash) <= 132))
$$;

-- Backslashes are written in E'': a session may read others otherwise (standard_conforming_strings), and the bodies of functions
-- are read anew in each.
--
-- A key's name is what a Secret takes as one. Anything else that somebody writes there may be a secret in the wrong column, whose
-- text would then stand in the registry, in the audit log and in what operators say.
CREATE FUNCTION is_key_name(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT name ~ '^[-._a-zA-Z0-9]+$' AND length(name) <= 253 AND name <> '.' AND left(name, 2) <> '..' $$;

-- What else can be one, for a key that somebody allows by that name (allow_key_names): it fits on one line, has at most 253 bytes and
-- no character that cannot be seen, but spaces inside.
CREATE FUNCTION is_allowable_name(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT octet_length(name) BETWEEN 1 AND 253 AND name !~ '^ | $' AND name !~ (E'[\\u0001-\\u001f\\u007f-\\u00a0\\u00ad\\u034f\\u061c'
        || E'\\u115f\\u1160\\u1680\\u17b4\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800\\u3000\\u3164'
        || E'\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\uffff\\U000e0000-\\U000e0fff]')
$$;

-- Whether a text says nothing: no character in it can be seen. The characters are those of is_allowable_name.
CREATE FUNCTION is_blank(said text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(said, '') !~ (E'[^ \\u0001-\\u001f\\u007f-\\u00a0\\u00ad\\u034f\\u061c'
        || E'\\u115f\\u1160\\u1680\\u17b4\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800\\u3000\\u3164'
        || E'\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\uffff\\U000e0000-\\U000e0fff]')
$$;

-- The newest migration applied, and the oldest program that this schema still serves as reader and as writer, by the
-- newest migration that it knows. A migration that only adds leaves the floor alone, so that it never stops a fleet.
CREATE TABLE schema_floor (
    only_row         boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version          integer NOT NULL,
    oldest_reader    integer NOT NULL,
    oldest_writer    integer NOT NULL,
    subscriber_since timestamptz
);
COMMENT ON COLUMN schema_floor.subscriber_since IS 'Since when rows come by logical replication alone (tidelock registry subscriber on); NULL where people write.';
INSERT INTO schema_floor (version, oldest_reader, oldest_writer) VALUES (1, 1, 1);

CREATE TABLE users (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text NOT NULL UNIQUE CHECK (is_label(translate(name, '@+', '--'))),
    -- Almost anything, but for what it would have in common with an assignment or a URL.
    db_role     text UNIQUE CHECK (is_allowable_name(db_role) AND octet_length(db_role) <= 63 AND db_role !~ '[=:/]'),
    db_role_oid oid,
    kind        user_kind NOT NULL DEFAULT 'person',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at timestamptz
);
COMMENT ON COLUMN users.kind IS 'A service reads only and makes no project; the owner migrates and adds users, and is a user of no project.';
COMMENT ON COLUMN users.db_role_oid IS 'Which login of that name: one that is dropped and made again is another. Set by trigger alone.';
COMMENT ON COLUMN users.db_role IS 'The database login that is this user; NULL for users who only act through a delegate.';

CREATE TABLE projects (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text NOT NULL UNIQUE CHECK (is_label(name)),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    archived_at timestamptz
);

-- The counter row is a project's only mutex and is taken before anything else. It is narrow, and half of each page is
-- left free, so that updates stay on the page while an old snapshot is held.
CREATE TABLE project_revisions (
    project_id  uuid PRIMARY KEY REFERENCES projects,
    revision    bigint NOT NULL DEFAULT 0,
    token       uuid NOT NULL DEFAULT gen_random_uuid(),
    transaction xid8 NOT NULL DEFAULT '0',
    began_at    timestamptz NOT NULL DEFAULT '-infinity',
    changed_at  timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
COMMENT ON COLUMN project_revisions.transaction IS 'The transaction that made this revision: one step per transaction.';
COMMENT ON COLUMN project_revisions.began_at IS 'When that transaction began: its number alone comes again on a server that a dump is restored into.';
COMMENT ON COLUMN project_revisions.changed_at IS 'When it was made; grows strictly, whatever the clock does.';

-- A number alone does not name a history: after a crash or a restore the same number can come again. The token does.
CREATE TABLE revision_log (
    project_id uuid NOT NULL REFERENCES projects,
    revision   bigint NOT NULL,
    token      uuid NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (project_id, revision)
);

CREATE TABLE environments (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id    uuid NOT NULL REFERENCES projects,
    name          text NOT NULL CHECK (is_label(name)),
    is_production boolean NOT NULL DEFAULT false,
    ring          text NOT NULL CHECK (is_label(ring)),
    epoch         bigint NOT NULL DEFAULT 1,
    revision      bigint NOT NULL DEFAULT 0,
    live_secrets  bigint NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at    timestamptz,
    UNIQUE (project_id, id)
);
CREATE UNIQUE INDEX environments_name_idx ON environments (project_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX idx_one_prod_env_per_project ON environments (project_id) WHERE is_production AND deleted_at IS NULL;
COMMENT ON COLUMN environments.epoch IS 'Up by one when a person accepts another history (environment accept-history, a later capability): readers compare it.';
COMMENT ON COLUMN environments.deleted_at IS 'The proof that it was deleted on purpose. Set in SQL until there is environment delete and restore.';
COMMENT ON COLUMN environments.ring IS 'The ring of the keyring that values here are sealed under.';
COMMENT ON COLUMN environments.revision IS 'The project''s revision at which the live values here last changed.';
COMMENT ON COLUMN environments.live_secrets IS 'How many rows of secrets are live here: what a reader must see, or rows are hidden from it.';

CREATE TABLE project_members (
    project_id        uuid NOT NULL REFERENCES projects,
    user_id           uuid NOT NULL REFERENCES users,
    role              project_role NOT NULL,
    only_environments uuid[],
    read_only         boolean NOT NULL DEFAULT false,
    expires_at        timestamptz,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX project_members_user_idx ON project_members (user_id);

CREATE TABLE project_secret_registry (
    project_id      uuid NOT NULL REFERENCES projects,
    key_name        text NOT NULL,
    name_allowed    boolean NOT NULL DEFAULT false,
    last_updated_at timestamptz NOT NULL,
    tracking        key_tracking NOT NULL DEFAULT 'tracked',
    description     text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at      timestamptz,
    PRIMARY KEY (project_id, key_name),
    CONSTRAINT project_secret_registry_key_name_check
        CHECK (is_key_name(key_name) OR (name_allowed AND is_allowable_name(key_name)))
);
COMMENT ON COLUMN project_secret_registry.name_allowed IS 'Whether somebody allowed the name, which no Secret takes, for this very key.';

CREATE TABLE secrets (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id      uuid NOT NULL,
    environment_id  uuid NOT NULL,
    key             text NOT NULL CHECK (is_allowable_name(key)),
    encrypted_value text NOT NULL,
    value_hash      text NOT NULL CHECK (is_value_hash(value_hash)),
    version         bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at      timestamptz,
    answers         timestamptz,
    FOREIGN KEY (project_id, environment_id) REFERENCES environments (project_id, id)
);
CREATE UNIQUE INDEX secrets_live_key_idx ON secrets (environment_id, key) WHERE deleted_at IS NULL;
CREATE INDEX secrets_deleted_key_idx ON secrets (environment_id, key) WHERE deleted_at IS NOT NULL;
CREATE INDEX secrets_project_key_idx ON secrets (project_id, key);
-- By what Secrets in clusters say of the rows that they were made from (src/core/short_digest.rs).
CREATE INDEX secrets_tombstone_idx ON secrets (environment_id, substring(sha256(uuid_send(id)), 1, 8)) WHERE deleted_at IS NOT NULL;
COMMENT ON COLUMN secrets.key IS 'As the registry has it: the trigger takes no other name than one that it would take or has.';
COMMENT ON COLUMN secrets.answers IS 'Set by a writer that follows or confirms: the registry time that it answers. Taken off by the trigger.';
COMMENT ON COLUMN secrets.version IS 'Counts the values of this row from 1; bound into the ciphertext.';

CREATE TABLE secret_versions (
    secret_id       uuid NOT NULL REFERENCES secrets,
    version         bigint NOT NULL,
    environment_id  uuid NOT NULL REFERENCES environments,
    encrypted_value text NOT NULL,
    value_hash      text NOT NULL,
    replaced_at     timestamptz NOT NULL,
    PRIMARY KEY (secret_id, version)
);
COMMENT ON TABLE secret_versions IS 'Earlier ciphertexts, kept by trigger from the start. Read by later capabilities: secret history and rollback, reencrypt.';

CREATE TABLE key_exemptions (
    project_id     uuid NOT NULL,
    environment_id uuid NOT NULL,
    key_name       text NOT NULL,
    reason         text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment_id, key_name),
    FOREIGN KEY (project_id, environment_id) REFERENCES environments (project_id, id),
    FOREIGN KEY (project_id, key_name) REFERENCES project_secret_registry (project_id, key_name)
);

CREATE TABLE encryption_keys (
    id         text PRIMARY KEY,
    ring       text NOT NULL,
    state      text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'draining', 'dropped')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE encryption_keys IS 'Which encryption keys rows were sealed under; never any key material.';
COMMENT ON COLUMN encryption_keys.state IS 'For a later capability, rotation (keyring promote and drop, reencrypt): active until then.';

CREATE TABLE project_hash_keys (
    project_id  uuid NOT NULL REFERENCES projects,
    hash_key_id text NOT NULL CHECK (hash_key_id ~ '^[-_a-zA-Z0-9]{1,64}$'),
    ring        text NOT NULL CHECK (is_label(ring)),
    sealed      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (project_id, hash_key_id, ring)
);
COMMENT ON TABLE project_hash_keys IS 'The project''s hashing key, sealed once for each ring that its environments use.';

CREATE TABLE audit_logs (
    chain          uuid NOT NULL,
    position       bigint NOT NULL,
    project_id     uuid REFERENCES projects,
    environment_id uuid REFERENCES environments,
    user_id        uuid NOT NULL REFERENCES users,
    login          text NOT NULL,
    action         text NOT NULL,
    subject        text,
    old_value_hash text,
    new_value_hash text,
    reason         text NOT NULL,
    revision       bigint,
    "timestamp"    timestamptz NOT NULL,
    link           bytea NOT NULL CHECK (octet_length(link) = 32),
    PRIMARY KEY (chain, position)
);
COMMENT ON COLUMN audit_logs.chain IS 'The project''s id; all zeros for the system chain.';
COMMENT ON COLUMN audit_logs.subject IS 'What it was done to: a key, a user, an environment. Of a key whose name was purged, what stands for it.';

CREATE TABLE audit_seals (
    chain      uuid NOT NULL,
    position   bigint NOT NULL,
    link       bytea NOT NULL,
    key_id     text NOT NULL,
    seal       bytea NOT NULL,
    user_id    uuid NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain, position, key_id)
);
COMMENT ON TABLE audit_seals IS 'For a later capability, audit seal and verify: keyed checkpoints of a chain, by those who hold a keyring. Nothing writes here yet.';

CREATE TABLE deliveries (
    cluster        text NOT NULL,
    namespace      text NOT NULL,
    binding        text NOT NULL,
    environment_id uuid NOT NULL REFERENCES environments,
    revision       bigint NOT NULL,
    delivered_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (cluster, namespace, binding, environment_id)
);
COMMENT ON TABLE deliveries IS 'For later capabilities, deliveries and purge: which binding of which cluster holds which revision. Nothing writes here yet.';

-- Whoever commits a change asks for this row, and who does not get it at once leaves the notification to who has it.
CREATE TABLE notify_turn (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
INSERT INTO notify_turn VALUES (true);

-- No statistics on what is secret, or is a name that not everyone may know: a plan's estimates would tell of them.
ALTER TABLE projects ALTER name SET STATISTICS 0;
ALTER TABLE environments ALTER name SET STATISTICS 0;
ALTER TABLE project_secret_registry ALTER key_name SET STATISTICS 0, ALTER description SET STATISTICS 0;
ALTER TABLE secrets ALTER key SET STATISTICS 0, ALTER encrypted_value SET STATISTICS 0, ALTER value_hash SET STATISTICS 0;
ALTER TABLE secret_versions ALTER encrypted_value SET STATISTICS 0, ALTER value_hash SET STATISTICS 0;
ALTER TABLE project_hash_keys ALTER sealed SET STATISTICS 0;
ALTER TABLE audit_logs ALTER subject SET STATISTICS 0, ALTER reason SET STATISTICS 0,
    ALTER old_value_hash SET STATISTICS 0, ALTER new_value_hash SET STATISTICS 0;
