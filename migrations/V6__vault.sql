-- The standalone store. A vault schema that is there already belongs to somebody else and is left alone.
-- No program reads or writes it yet: the command and the source of a later capability, the vault, do.

CREATE TABLE vault_tombstones (
    id         uuid PRIMARY KEY,
    name       text,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE vault_tombstones ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY definer ON vault_tombstones TO tidelock_definer USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON vault_tombstones TO tidelock_definer;
CREATE POLICY backup ON vault_tombstones FOR SELECT TO tidelock_backup USING (true);
CREATE POLICY hidden ON vault_tombstones FOR SELECT USING (refuse_partial_look());
GRANT SELECT ON vault_tombstones TO tidelock_backup;
CREATE TRIGGER refuse_removal BEFORE DELETE OR TRUNCATE ON vault_tombstones
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_removal();
ALTER TABLE vault_tombstones ENABLE ALWAYS TRIGGER refuse_removal;

CREATE FUNCTION bury_vault_secret() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    INSERT INTO vault_tombstones (id, name) VALUES (OLD.id, OLD.name)
        ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, deleted_at = EXCLUDED.deleted_at;
    RETURN NULL;
END $$;

CREATE FUNCTION touch_vault_secret() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
    RETURN NEW;
END $$;

DO $$
BEGIN
    IF to_regnamespace('vault') IS NOT NULL THEN
        RETURN;
    ELSIF NOT has_database_privilege(current_database(), 'CREATE') THEN
        -- An administrator made the registry's schemas and lent no right to make another.
        RETURN;
    END IF;
    CREATE SCHEMA vault;
    CREATE TABLE vault.secrets (
        id          uuid CONSTRAINT secrets_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
        name        text,
        description text NOT NULL DEFAULT '',
        secret      text NOT NULL,
        key_id      uuid,
        nonce       bytea,
        created_at  timestamptz NOT NULL DEFAULT current_timestamp,
        updated_at  timestamptz NOT NULL DEFAULT current_timestamp
    );
    CREATE UNIQUE INDEX secrets_name_idx ON vault.secrets USING btree (name) WHERE name IS NOT NULL;
    COMMENT ON TABLE vault.secrets IS 'Table with encrypted `secret` column for storing sensitive information on disk.';
    CREATE TRIGGER touch BEFORE UPDATE ON vault.secrets FOR EACH ROW EXECUTE FUNCTION touch_vault_secret();
    CREATE TRIGGER bury AFTER DELETE ON vault.secrets FOR EACH ROW EXECUTE FUNCTION bury_vault_secret();
    ALTER TABLE vault.secrets ENABLE ALWAYS TRIGGER touch;
    ALTER TABLE vault.secrets ENABLE ALWAYS TRIGGER bury;
    GRANT USAGE ON SCHEMA vault TO tidelock_backup;
    GRANT SELECT ON vault.secrets TO tidelock_backup;
END $$;
