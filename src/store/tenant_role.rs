//! Role `gatepost_app`, under which each tenant's work runs: its rights, and the statements that create missing ones.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryResult, QueryableByName, RunQueryDsl};

use super::migrations::LOCK;

/// Limit on tries. Databases of one cluster share the role, so another one may create or grant it at the same moment.
const TRIES: usize = 3;

/// SQL that returns the statements which let this session's user act as the role. Row-level security must hold for the
/// role. `SET ROLE` checks the membership of the user who logged in, which is not always the current user.
const MEMBERSHIP: &str = "
    WITH server AS (SELECT current_setting('server_version_num')::int >= 160000 AS has_set_option)
    SELECT 'CREATE ROLE gatepost_app NOLOGIN' AS sql, 1 AS place
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gatepost_app')
    UNION ALL
    SELECT format('GRANT gatepost_app TO %I', session_user) || CASE WHEN has_set_option THEN ' WITH SET TRUE' ELSE '' END, 2
    FROM server LEFT JOIN pg_roles r ON r.rolname = 'gatepost_app'
    WHERE CASE WHEN r.oid IS NULL THEN TRUE
        -- Before version 16 every member may set the role, and this privilege has no name.
        WHEN has_set_option THEN NOT pg_has_role(session_user, r.oid, 'SET')
        ELSE NOT pg_has_role(session_user, r.oid, 'MEMBER') END
    UNION ALL
    SELECT 'ALTER ROLE gatepost_app NOSUPERUSER NOBYPASSRLS', 3
    FROM pg_roles WHERE rolname = 'gatepost_app' AND (rolsuper OR rolbypassrls)
    UNION ALL
    SELECT format('REVOKE %I FROM gatepost_app', current_user), 0
    FROM pg_roles r JOIN pg_roles owner ON owner.rolname = current_user
    WHERE r.rolname = 'gatepost_app' AND NOT r.rolsuper AND pg_has_role(r.oid, owner.oid, 'MEMBER')
    ORDER BY place";

/// SQL that returns the statements which give the role its privileges and policies, as the migrations do. A table with
/// a `tenant_id` gets all of them, unless `narrow` lists what it gets. The role must exist.
const PRIVILEGES: &str = "
    WITH here AS (SELECT oid FROM pg_namespace WHERE nspname = current_schema()),
    narrow (name, privilege, columns) AS (VALUES
        ('audit_chains', 'SELECT', NULL::text[]),
        ('audit_entries', 'SELECT', NULL),
        ('audit_entries', 'INSERT', NULL),
        ('mails', 'SELECT', NULL),
        ('mails', 'INSERT', NULL),
        ('mails_id_seq', 'USAGE', NULL),
        ('plans', 'SELECT', NULL),
        ('tenant_key_words', 'SELECT', NULL),
        ('tenants', 'SELECT', NULL),
        ('tenants', 'UPDATE', '{name,key_prefix,time_zone,updated_at}'),
        ('users', 'SELECT', '{id,email,name,is_operator,is_active,is_email_confirmed,created_at,updated_at}')),
    tenant_tables AS (
        SELECT c.oid, c.relname, c.relrowsecurity FROM pg_class c JOIN here ON here.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND (c.relname IN ('tenants', 'users')
            OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))),
    wanted AS (
        SELECT oid, relname, 'r' AS relkind, privilege, NULL::name AS column
        FROM tenant_tables CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) privilege
        WHERE relname NOT IN (SELECT name FROM narrow)
        UNION ALL
        SELECT c.oid, c.relname, c.relkind, n.privilege, a.attname
        FROM narrow n JOIN here ON TRUE JOIN pg_class c ON c.relname = n.name AND c.relnamespace = here.oid
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = ANY (n.columns) AND NOT a.attisdropped
        WHERE n.columns IS NULL OR a.attname IS NOT NULL)
    SELECT format('GRANT USAGE ON SCHEMA %I TO gatepost_app', current_schema()) AS sql
    FROM here WHERE NOT has_schema_privilege('gatepost_app', oid, 'USAGE')
    UNION ALL
    SELECT format('GRANT %s ON %s%I TO gatepost_app',
        string_agg(privilege || coalesce(' (' || quote_ident(w.column) || ')', ''), ', '), CASE relkind WHEN 'S' THEN 'SEQUENCE ' END, relname)
    FROM wanted w
    WHERE NOT CASE WHEN relkind = 'S' THEN has_sequence_privilege('gatepost_app', oid, privilege)
        WHEN w.column IS NULL THEN has_table_privilege('gatepost_app', oid, privilege)
        ELSE has_column_privilege('gatepost_app', oid, w.column, privilege) END
    GROUP BY relname, relkind
    UNION ALL
    SELECT format('GRANT EXECUTE ON FUNCTION %s TO gatepost_app', p.oid::regprocedure)
    FROM pg_proc p JOIN here ON here.oid = p.pronamespace
    WHERE NOT p.prosecdef AND p.prorettype <> 'trigger'::regtype
        AND pg_has_role(p.proowner, 'USAGE') AND NOT has_function_privilege('gatepost_app', p.oid, 'EXECUTE')
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', relname) FROM tenant_tables WHERE NOT relrowsecurity
    UNION ALL
    SELECT format('DROP POLICY IF EXISTS of_the_tenant ON %1$I; CREATE POLICY of_the_tenant ON %1$I TO gatepost_app USING (%2$s)', relname,
        CASE relname WHEN 'tenants' THEN 'id = current_tenant()'
            WHEN 'users' THEN 'EXISTS (SELECT FROM memberships WHERE memberships.user_id = users.id)'
            ELSE 'tenant_id = current_tenant()' END)
    FROM tenant_tables t
    WHERE to_regprocedure('current_tenant()') IS NOT NULL AND NOT EXISTS (SELECT FROM pg_policy p JOIN pg_roles r ON r.oid = ANY (p.polroles) AND r.rolname = 'gatepost_app'
        WHERE p.polrelid = t.oid AND p.polname = 'of_the_tenant')";

#[derive(QueryableByName)]
struct Statement {
    #[diesel(sql_type = Text)]
    sql: String,
}

/// Returns the statements that are needed before the session's user can act as the role.
pub fn missing_membership(conn: &mut PgConnection) -> QueryResult<Vec<String>> {
    statements(conn, MEMBERSHIP)
}

/// Returns the statements that are needed before the role can do a tenant's work. The role must exist.
pub fn missing_privileges(conn: &mut PgConnection) -> QueryResult<Vec<String>> {
    statements(conn, PRIVILEGES)
}

/// Runs a query for statements and returns them.
fn statements(conn: &mut PgConnection, query: &str) -> QueryResult<Vec<String>> {
    let found: Vec<Statement> = diesel::sql_query(query).load(conn)?;
    Ok(found.into_iter().map(|one| one.sql).collect())
}

/// Creates the missing role, membership, privileges and policies. Returns true if anything was missing.
///
/// # Errors
/// The database's refusal, if its user may not do this.
pub fn ensure(conn: &mut PgConnection) -> QueryResult<bool> {
    let mut outcome = Ok(false);
    for _ in 0..TRIES {
        outcome = conn.transaction(|conn| Ok(create(conn, missing_membership)? | create(conn, missing_privileges)?));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Runs the missing statements. They are looked up again under the lock: another process may have run them.
fn create(conn: &mut PgConnection, missing: fn(&mut PgConnection) -> QueryResult<Vec<String>>) -> QueryResult<bool> {
    let statements = missing(conn)?;
    if !statements.is_empty() {
        // One process at a time repairs a database. None waits for a table lock longer than requests can wait.
        conn.batch_execute(&format!("SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_xact_lock({LOCK})"))?;
        missing(conn)?.iter().try_for_each(|sql| conn.batch_execute(sql))?;
    }
    Ok(!statements.is_empty())
}
