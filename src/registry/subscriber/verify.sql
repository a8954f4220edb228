-- What is wrong with a registry whose rows came by replication: nothing but the keys of its tables was looked at on the way.
-- The owner reads it, as long as row-level security is not forced on them.

-- Each chain from its first row, without a gap, each link over the one before. Rows whose key's name was purged do not have the text
-- any more that their link is over; the row that tells of the purge, which is in the chain, has the digest of what they have.
WITH purged AS MATERIALIZED (
    SELECT p.chain, p.subject, p.position FROM audit_logs p
    WHERE p.action = 'key.purge-name' AND p.new_value_hash = audit_digest_of_purged(p.chain, p.subject)
)
SELECT format('the audit chain of %s is broken at position %s',
        coalesce((SELECT 'project ' || p.name FROM projects p WHERE p.id = walked.chain), 'users'), min(walked.position)) AS finding
FROM (
    SELECT a AS entry, a.chain, a.position, a.link, lag(a.link) OVER chain AS previous, row_number() OVER chain AS place
    FROM audit_logs a WINDOW chain AS (PARTITION BY a.chain ORDER BY a.position)
) walked
WHERE walked.position <> walked.place
   OR (walked.link <> audit_link(coalesce(walked.previous, decode(repeat('00', 32), 'hex')), walked.entry)
       AND (walked.chain, (walked.entry).subject) NOT IN (SELECT p.chain, p.subject FROM purged p WHERE p.position > walked.position))
GROUP BY walked.chain

-- As many rows as the audit log has seen come and go: a publication that leaves a table out leaves it empty.
UNION ALL
SELECT format('%s has %s rows, and the audit log tells of %s', counted.name, counted.rows, counted.told) FROM (
    SELECT 'users' AS name, (SELECT count(*) FROM users) AS rows, count(*) FILTER (WHERE action = 'user.add') AS told FROM audit_logs
    UNION ALL
    SELECT 'projects', (SELECT count(*) FROM projects), count(*) FILTER (WHERE action = 'project.create') FROM audit_logs
    UNION ALL
    SELECT 'project_revisions', (SELECT count(*) FROM project_revisions), count(*) FILTER (WHERE action = 'project.create') FROM audit_logs
    UNION ALL
    SELECT 'environments', (SELECT count(*) FROM environments), count(*) FILTER (WHERE action = 'environment.create') FROM audit_logs
    UNION ALL
    SELECT 'project_members', (SELECT count(*) FROM project_members),
        count(*) FILTER (WHERE action = 'member.add') - count(*) FILTER (WHERE action = 'member.remove') FROM audit_logs
    UNION ALL
    SELECT 'key_exemptions', (SELECT count(*) FROM key_exemptions),
        count(*) FILTER (WHERE action = 'key.exempt') - count(*) FILTER (WHERE action = 'key.unexempt') FROM audit_logs
    UNION ALL
    SELECT 'project_hash_keys', (SELECT count(*) FROM project_hash_keys), count(*) FILTER (WHERE action = 'hashkey.add') FROM audit_logs
) counted WHERE counted.rows <> counted.told

UNION ALL
SELECT format('secret_versions has %s rows, and %s values were replaced', counted.rows, counted.replaced) FROM (
    SELECT (SELECT count(*) FROM secret_versions) AS rows, (SELECT coalesce(sum(version - 1), 0) FROM secrets) AS replaced
) counted WHERE counted.rows <> counted.replaced

UNION ALL
SELECT format('environment %s of project %s has %s live values, and its counter says %s', e.name, p.name, n.counted, e.live_secrets)
FROM environments e JOIN projects p ON p.id = e.project_id
CROSS JOIN LATERAL (SELECT count(*) AS counted FROM secrets s WHERE s.environment_id = e.id AND s.deleted_at IS NULL) n
WHERE n.counted <> e.live_secrets

UNION ALL
SELECT format('key %s of project %s is live and not registered', s.key, p.name)
FROM secrets s JOIN projects p ON p.id = s.project_id
WHERE s.deleted_at IS NULL AND NOT EXISTS (
    SELECT FROM project_secret_registry r WHERE r.project_id = s.project_id AND r.key_name = s.key AND r.retired_at IS NULL)

UNION ALL
SELECT format('values of project %s are sealed under a key that encryption_keys does not have', p.name)
FROM projects p WHERE EXISTS (
    SELECT FROM secrets s WHERE s.project_id = p.id AND sealed_under(s.encrypted_value) IS NOT NULL
        AND NOT EXISTS (SELECT FROM encryption_keys k WHERE k.id = sealed_under(s.encrypted_value)))

-- The counter, and each of its steps with its token: what operators know a history by.
UNION ALL
SELECT format('project %s is at revision %s, and its log has %s steps up to %s', p.name, r.revision, l.steps, l.newest)
FROM project_revisions r JOIN projects p ON p.id = r.project_id
CROSS JOIN LATERAL (
    SELECT count(*) AS steps, max(o.revision) AS newest, bool_or(o.revision = r.revision AND o.token = r.token) AS has_token
    FROM revision_log o WHERE o.project_id = r.project_id
) l
WHERE (l.steps, l.newest, l.has_token) IS DISTINCT FROM (r.revision, r.revision, true)

-- Each step has a row of the audit log: the newest ones could be missing, and the chain be whole.
UNION ALL
SELECT format('project %s is at revision %s, and its audit log ends at %s', p.name, r.revision, coalesce(a.newest, 0))
FROM project_revisions r JOIN projects p ON p.id = r.project_id
CROSS JOIN LATERAL (SELECT max(o.revision) AS newest FROM audit_logs o WHERE o.chain = r.project_id) a
WHERE a.newest IS DISTINCT FROM r.revision

UNION ALL
SELECT format('the owner of the registry is another login than %s, who could add no user here', current_user)
WHERE NOT EXISTS (SELECT FROM users WHERE kind = 'owner' AND db_role = current_user)
