-- What the system catalogs say of the registry: one row for each property of each object, in words that do not depend on
-- the version of PostgreSQL, on the names of the schemas or on who asks. $1 and $2 are the schemas' names, $3 the group roles.
--
-- `may_be_more` marks what somebody may add without weakening anything. Reads catalogs alone, which takes no right.
WITH schemas AS (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl, CASE n.nspname WHEN $1 THEN '@schema@' ELSE '@api@' END AS placeholder
    FROM pg_namespace n WHERE n.nspname IN ($1, $2)
), owner AS (
    SELECT c.relowner AS oid FROM pg_class c JOIN schemas s ON s.oid = c.relnamespace
    WHERE s.nspname = $1 AND c.relname = 'schema_migrations'
), relations AS (
    SELECT c.*, format('%I.%I', s.nspname, c.relname) AS name, s.nspname = $1 AS holds_tables,
           CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                WHEN 'S' THEN 'sequence' ELSE 'foreign table' END AS kind
    FROM pg_class c JOIN schemas s ON s.oid = c.relnamespace WHERE c.relkind NOT IN ('i', 'I', 'c', 't')
    UNION ALL
    -- A store that a migration made, and not one that was there before.
    SELECT c.*, 'vault.secrets', true, 'table' FROM pg_class c
    WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = 'vault') AND c.relname = 'secrets' AND c.relkind = 'r'
      AND EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN schemas s ON s.oid = p.pronamespace
                  WHERE t.tgrelid = c.oid AND s.nspname = $1)
), routines AS (
    SELECT p.*, p.oid::regprocedure::text AS name, CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind
    FROM pg_proc p JOIN schemas s ON s.oid = p.pronamespace
), grants AS (
    SELECT r.kind, r.name, a.grantee, a.is_grantable, a.privilege_type AS privilege, r.relowner AS owner
    FROM relations r, aclexplode(coalesce(r.relacl, acldefault(CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", r.relowner))) a
    UNION ALL
    SELECT r.kind, r.name, a.grantee, a.is_grantable, format('%s (%I)', a.privilege_type, t.attname), r.relowner
    FROM relations r JOIN pg_attribute t ON t.attrelid = r.oid, aclexplode(t.attacl) a
    UNION ALL
    SELECT r.kind, r.name, a.grantee, a.is_grantable, a.privilege_type, r.proowner
    FROM routines r, aclexplode(coalesce(r.proacl, acldefault('f', r.proowner))) a
    UNION ALL
    SELECT 'schema', s.placeholder, a.grantee, a.is_grantable, a.privilege_type, s.nspowner
    FROM schemas s, aclexplode(coalesce(s.nspacl, acldefault('n', s.nspowner))) a
), roles AS (
    SELECT r.oid, CASE WHEN r.oid = (SELECT oid FROM owner) THEN '@owner@' ELSE quote_ident(r.rolname) END AS name FROM pg_roles r
    UNION ALL SELECT 0, 'PUBLIC'
), memberships AS (
    -- From PostgreSQL 16 on, who made a role may grant it, and that alone is no use of it.
    SELECT m.roleid, m.member FROM pg_auth_members m
    WHERE coalesce((to_jsonb(m) ->> 'set_option')::boolean, true) OR coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
), described (kind, name, property, value, may_be_more) AS (
    SELECT 'schema', s.placeholder, 'owner', r.name, false FROM schemas s JOIN roles r ON r.oid = s.nspowner
    UNION ALL
    SELECT r.kind, r.name, 'owner', o.name, false FROM relations r JOIN roles o ON o.oid = r.relowner
    UNION ALL
    SELECT r.kind, r.name, 'row-level security',
           CASE WHEN NOT r.relrowsecurity THEN 'off' WHEN r.relforcerowsecurity THEN 'forced' ELSE 'on, but not for the owner' END, false
    FROM relations r WHERE r.kind = 'table'
    UNION ALL
    SELECT r.kind, r.name, 'persistence', 'lost in a crash', false FROM relations r WHERE r.relpersistence <> 'p'
    UNION ALL
    -- How a table is vacuumed and laid out is the administrator's.
    SELECT r.kind, r.name, 'options', string_agg(o, ', ' ORDER BY o COLLATE "C"), false FROM relations r, unnest(r.reloptions) o
    WHERE o !~ '^(autovacuum_|toast_tuple_target=|toast[.]|fillfactor=|parallel_workers=|log_)' GROUP BY 1, 2
    UNION ALL
    SELECT r.kind, r.name, format('column %I', a.attname),
           concat_ws(' ', format_type(a.atttypid, a.atttypmod),
               CASE WHEN a.attcollation NOT IN (0, (SELECT t.typcollation FROM pg_type t WHERE t.oid = a.atttypid))
                    THEN 'COLLATE ' || a.attcollation::regcollation END,
               CASE WHEN a.attnotnull THEN 'NOT NULL' END,
               CASE WHEN a.attgenerated <> '' THEN 'GENERATED' END, CASE WHEN a.attidentity <> '' THEN 'IDENTITY' END,
               'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid),
               CASE WHEN a.attstattarget = 0 THEN 'STATISTICS 0' END), false
    FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    -- Versions print column names with and without the view's alias.
    SELECT r.kind, r.name, 'query', md5(regexp_replace(regexp_replace(
               replace(replace(pg_get_viewdef(r.oid), quote_ident($2) || '.', '@api@'), quote_ident($1) || '.', '@schema@'),
               '[[:alnum:]_]+[.]', '', 'g'), '\s+', ' ', 'g')), false
    FROM relations r WHERE r.kind LIKE '%view'
    UNION ALL
    SELECT g.kind, g.name, 'granted to ' || r.name, string_agg(g.privilege, ', ' ORDER BY g.privilege COLLATE "C"), false
    FROM grants g JOIN roles r ON r.oid = g.grantee WHERE g.grantee <> g.owner GROUP BY 1, 2, 3
    UNION ALL
    SELECT g.kind, g.name, 'may be granted on by ' || r.name, string_agg(g.privilege, ', ' ORDER BY g.privilege COLLATE "C"), false
    FROM grants g JOIN roles r ON r.oid = g.grantee WHERE g.grantee <> g.owner AND g.is_grantable GROUP BY 1, 2, 3
    UNION ALL
    -- Foreign keys look as the owner of the table.
    SELECT r.kind, r.name, 'taken from its owner', string_agg(p, ', ' ORDER BY p COLLATE "C"), false
    FROM relations r, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'REFERENCES', 'TRIGGER', 'TRUNCATE']) p
    WHERE r.kind IN ('table', 'view') AND NOT EXISTS (SELECT FROM grants g WHERE (g.kind, g.name, g.privilege, g.grantee) = (r.kind, r.name, p, r.relowner))
    GROUP BY 1, 2
    UNION ALL
    SELECT 'rule', format('%I ON %s', w.rulename, r.name), 'definition', pg_get_ruledef(w.oid), false
    FROM pg_rewrite w JOIN relations r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
    UNION ALL
    SELECT 'constraint', format('%I ON %s', c.conname, r.name), 'definition',
           pg_get_constraintdef(c.oid) || CASE WHEN EXISTS (
               SELECT FROM pg_trigger t WHERE t.tgconstraint = c.oid AND t.tgisinternal AND t.tgenabled = 'D') THEN ', not enforced' ELSE '' END,
           false
    FROM pg_constraint c JOIN relations r ON r.oid = c.conrelid WHERE c.contype IN ('c', 'f', 'p', 'u', 'x')
    UNION ALL
    SELECT 'index', format('%I.%I', n.nspname, c.relname), 'definition',
           pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ', invalid' END,
           NOT i.indisunique AND i.indexprs IS NULL AND i.indpred IS NULL
    FROM pg_index i JOIN relations r ON r.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
    UNION ALL
    SELECT 'statistics', format('%I.%I', n.nspname, x.stxname), 'of', r.name, false
    FROM pg_statistic_ext x JOIN relations r ON r.oid = x.stxrelid JOIN pg_namespace n ON n.oid = x.stxnamespace
    UNION ALL
    SELECT 'trigger', format('%I ON %s', t.tgname, r.name), d.property, d.value, false
    FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid
    CROSS JOIN LATERAL (VALUES
        ('definition', pg_get_triggerdef(t.oid)),
        ('fires', CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' WHEN 'D' THEN 'never' ELSE 'by default' END)) d (property, value)
    WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'policy', format('%I ON %s', p.polname, r.name), 'definition', concat_ws(' ',
               CASE WHEN p.polpermissive THEN 'AS PERMISSIVE' ELSE 'AS RESTRICTIVE' END,
               'FOR ' || CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
               'TO ' || (SELECT string_agg(x.name, ', ' ORDER BY x.name COLLATE "C") FROM roles x WHERE x.oid = ANY (p.polroles)),
               'USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', 'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'), false
    FROM pg_policy p JOIN relations r ON r.oid = p.polrelid
    UNION ALL
    SELECT r.kind, r.name, d.property, d.value, false
    FROM routines r JOIN roles o ON o.oid = r.proowner JOIN pg_language l ON l.oid = r.prolang
    CROSS JOIN LATERAL (VALUES
        ('owner', o.name),
        ('rights', CASE WHEN r.prosecdef THEN 'SECURITY DEFINER' ELSE 'SECURITY INVOKER' END),
        ('settings', (SELECT string_agg(replace(c, ', ' || quote_ident($1) || ', ', ', @schema@, '), '; ' ORDER BY c COLLATE "C")
                      FROM unnest(r.proconfig) c)),
        ('declaration', concat_ws(' ', '(' || pg_get_function_arguments(r.oid) || ')', 'RETURNS ' || pg_get_function_result(r.oid),
            'LANGUAGE ' || l.lanname, CASE r.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
            CASE WHEN r.proisstrict THEN 'STRICT' END, CASE WHEN r.proleakproof THEN 'LEAKPROOF' END,
            'PARALLEL ' || CASE r.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END)),
        ('body', md5(replace(replace(coalesce(pg_get_function_sqlbody(r.oid), r.prosrc),
            '"' || replace($2, '"', '""') || '".', '@api@.'), '"' || replace($1, '"', '""') || '".', '@schema@.')))
    ) d (property, value) WHERE d.value IS NOT NULL
    UNION ALL
    SELECT 'type', format('%I.%I', s.nspname, t.typname), d.property, d.value, false
    FROM pg_type t JOIN schemas s ON s.oid = t.typnamespace JOIN roles o ON o.oid = t.typowner LEFT JOIN pg_class c ON c.oid = t.typrelid
    CROSS JOIN LATERAL (VALUES
        ('owner', o.name),
        ('definition', CASE WHEN t.typtype = 'e' THEN (
            SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)
         ELSE (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
               FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END)) d (property, value)
    WHERE t.typtype IN ('e', 'd') OR c.relkind = 'c'
    UNION ALL
    SELECT 'role', quote_ident(r.rolname), 'attributes', concat_ws(' ',
               CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
               CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END), false
    FROM pg_roles r WHERE r.rolname = ANY ($3)
    UNION ALL
    SELECT 'role', quote_ident(r.rolname), 'granted to ' || x.name, 'member', false
    FROM pg_roles r JOIN memberships m ON m.roleid = r.oid JOIN roles x ON x.oid = m.member WHERE r.rolname = 'tidelock_definer'
    UNION ALL
    SELECT 'role', quote_ident(r.rolname), 'member of ' || x.name, 'member', false
    FROM pg_roles r JOIN memberships m ON m.member = r.oid JOIN roles x ON x.oid = m.roleid
    WHERE r.rolname = ANY ($3) AND x.name <> 'tidelock_definer'
)
SELECT kind, replace(replace(name, quote_ident($2) || '.', '@api@.'), quote_ident($1) || '.', '@schema@.') AS name, property,
       replace(replace(coalesce(value, ''), quote_ident($2) || '.', '@api@.'), quote_ident($1) || '.', '@schema@.') AS value,
       may_be_more
FROM described
