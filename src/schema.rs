// @generated automatically by Diesel CLI.

diesel::table! {
    access_tokens (id) {
        id -> Int8,
        user_id -> Int8,
        tenant_id -> Nullable<Int8>,
        name -> Text,
        public_id -> Text,
        hint -> Text,
        pepper_id -> Text,
        digest -> Bytea,
        scopes -> Array<Text>,
        expires_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        is_from_login -> Bool,
        minted_by -> Nullable<Int8>,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Int8,
        tenant_id -> Int8,
        user_id -> Nullable<Int8>,
        name -> Text,
        description -> Nullable<Text>,
        environment -> Text,
        public_id -> Text,
        key_prefix -> Text,
        hint -> Text,
        hash_algorithm -> Text,
        pepper_id -> Text,
        digest -> Text,
        scopes -> Array<Text>,
        rate_limit -> Int8,
        rate_window_seconds -> Int8,
        allowed_ips -> Array<Text>,
        owner -> Nullable<Text>,
        requires_owner -> Bool,
        metadata -> Jsonb,
        tags -> Array<Text>,
        is_active -> Bool,
        expires_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        revoked_reason -> Nullable<Text>,
        deleted_at -> Nullable<Timestamptz>,
        version -> Int8,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        lineage_id -> Int8,
        rotates_out_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    attempts (id) {
        id -> Uuid,
        tenant_id -> Int8,
        delivery_id -> Uuid,
        event_id -> Uuid,
        event_type -> Text,
        webhook_id -> Int8,
        number -> Int8,
        request_url -> Text,
        request_headers -> Nullable<Jsonb>,
        response_status -> Nullable<Int2>,
        response_headers -> Nullable<Jsonb>,
        response_body -> Nullable<Text>,
        duration_ms -> Nullable<Int8>,
        success -> Bool,
        error_kind -> Nullable<Text>,
        error -> Nullable<Text>,
        remote_address -> Nullable<Text>,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        dns_us -> Nullable<Int4>,
        connect_us -> Nullable<Int4>,
        first_byte_us -> Nullable<Int4>,
        payload_format -> Nullable<Text>,
    }
}

diesel::table! {
    audit_chains (tenant_id) {
        tenant_id -> Int8,
        seq -> Int8,
        hash -> Bytea,
        pruned_seq -> Int8,
        pruned_hash -> Bytea,
    }
}

diesel::table! {
    audit_entries (id) {
        id -> Int8,
        tenant_id -> Nullable<Int8>,
        user_id -> Nullable<Int8>,
        actor -> Text,
        via -> Text,
        action -> Text,
        target -> Text,
        details -> Jsonb,
        ip -> Nullable<Text>,
        request_id -> Nullable<Text>,
        created_at -> Timestamptz,
        seq -> Int8,
        previous_hash -> Bytea,
        hash -> Bytea,
    }
}

diesel::table! {
    deliveries (id) {
        id -> Uuid,
        tenant_id -> Int8,
        event_id -> Uuid,
        event_type -> Text,
        webhook_id -> Int8,
        state -> Text,
        attempts_made -> Int8,
        attempts_max -> Int8,
        last_status -> Nullable<Int2>,
        last_error -> Nullable<Text>,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        has_trouble -> Bool,
    }
}

diesel::table! {
    delivery_hours (tenant_id, webhook_id, hour) {
        tenant_id -> Int8,
        webhook_id -> Int8,
        hour -> Timestamptz,
        delivered -> Int8,
        failed -> Int8,
        cancelled -> Int8,
        attempts -> Int8,
        successes -> Int8,
    }
}

diesel::table! {
    delivery_minutes (tenant_id, webhook_id, minute) {
        tenant_id -> Int8,
        webhook_id -> Int8,
        minute -> Timestamptz,
        delivered -> Int8,
        failed -> Int8,
        cancelled -> Int8,
        attempts -> Int8,
        successes -> Int8,
    }
}

diesel::table! {
    event_months (tenant_id, month) {
        tenant_id -> Int8,
        month -> Date,
        total -> Int8,
    }
}

diesel::table! {
    events (id) {
        id -> Uuid,
        tenant_id -> Int8,
        #[sql_name = "type"]
        type_ -> Text,
        payload -> Text,
        api_key_id -> Nullable<Int8>,
        user_id -> Nullable<Int8>,
        webhook_id -> Nullable<Int8>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    idempotency_keys (id) {
        id -> Int8,
        tenant_id -> Int8,
        route -> Text,
        key -> Text,
        request_hash -> Bytea,
        answer -> Nullable<Jsonb>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    instance_facts (name) {
        name -> Text,
        value -> Text,
    }
}

diesel::table! {
    invitations (id) {
        id -> Int8,
        tenant_id -> Int8,
        email -> Text,
        role -> Text,
        digest -> Bytea,
        invited_by -> Nullable<Int8>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        accepted_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        proves_email -> Bool,
        mail_state -> Nullable<Text>,
        mail_error -> Nullable<Text>,
    }
}

diesel::table! {
    key_counts (tenant_id) {
        tenant_id -> Int8,
        held -> Int8,
        active -> Int8,
        counted_until -> Timestamptz,
    }
}

diesel::table! {
    key_limits (lineage_id) {
        tenant_id -> Int8,
        lineage_id -> Int8,
        limits -> Jsonb,
        quota -> Nullable<Int8>,
        refill -> Nullable<Text>,
        remaining -> Nullable<Int8>,
        refills_at -> Nullable<Timestamptz>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    key_uses (api_key_id) {
        api_key_id -> Int8,
        tenant_id -> Int8,
        created_at -> Timestamptz,
        is_deleted -> Bool,
        used_at -> Timestamptz,
        used_ip -> Nullable<Text>,
    }
}

diesel::table! {
    mails (id) {
        id -> Int8,
        tenant_id -> Nullable<Int8>,
        recipient -> Text,
        sealed -> Bytea,
        attempts -> Int8,
        next_attempt_at -> Timestamptz,
        created_at -> Timestamptz,
        link_digest -> Nullable<Bytea>,
    }
}

diesel::table! {
    memberships (id) {
        id -> Int8,
        tenant_id -> Int8,
        user_id -> Int8,
        role -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    one_time_links (id) {
        id -> Int8,
        purpose -> Text,
        digest -> Bytea,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
        user_id -> Nullable<Int8>,
        is_asked_for -> Bool,
        created_by -> Nullable<Int8>,
    }
}

diesel::table! {
    open_deliveries (tenant_id, delivery_id) {
        tenant_id -> Int8,
        delivery_id -> Uuid,
        event_id -> Uuid,
        event_type -> Text,
        webhook_id -> Int8,
        attempts_made -> Int8,
        attempts_max -> Int8,
        next_attempt_at -> Nullable<Timestamptz>,
        lease_token -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        attempt_id -> Nullable<Uuid>,
        attempted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    plans (name) {
        name -> Text,
        max_keys -> Nullable<Int8>,
        max_webhooks -> Nullable<Int8>,
        max_members -> Nullable<Int8>,
        max_events_per_month -> Nullable<Int8>,
        default_rate_limit -> Int8,
        max_rate_limit -> Nullable<Int8>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    recovery_codes (id) {
        id -> Int8,
        user_id -> Int8,
        digest -> Bytea,
        created_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    second_factors (user_id) {
        user_id -> Int8,
        sealed -> Bytea,
        confirmed_at -> Nullable<Timestamptz>,
        last_step -> Int8,
        created_at -> Timestamptz,
        wrong_codes -> Int4,
        last_wrong_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sessions (id) {
        id -> Int8,
        key_digest -> Bytea,
        user_id -> Nullable<Int8>,
        state -> Jsonb,
        created_at -> Timestamptz,
        last_seen_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    signing_secrets (id) {
        id -> Int8,
        tenant_id -> Int8,
        webhook_id -> Int8,
        sealed -> Bytea,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        public_key -> Nullable<Text>,
    }
}

diesel::table! {
    tenants (id) {
        id -> Int8,
        name -> Text,
        slug -> Text,
        plan -> Text,
        is_active -> Bool,
        key_prefix -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        suspended_at -> Nullable<Timestamptz>,
        suspended_reason -> Nullable<Text>,
        deleted_at -> Nullable<Timestamptz>,
        time_zone -> Nullable<Text>,
    }
}

diesel::table! {
    told_expiries (api_key_id) {
        api_key_id -> Int8,
        tenant_id -> Int8,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    unreachable_hosts (tenant_id, host) {
        tenant_id -> Int8,
        host -> Text,
        since -> Timestamptz,
    }
}

diesel::table! {
    usage_hours (tenant_id, api_key_id, hour, endpoint, outcome, status) {
        tenant_id -> Int8,
        api_key_id -> Int8,
        hour -> Timestamptz,
        endpoint -> Text,
        outcome -> Text,
        status -> Int2,
        total -> Int8,
        cost -> Int8,
    }
}

diesel::table! {
    usage_latencies (tenant_id, api_key_id, hour, step) {
        tenant_id -> Int8,
        api_key_id -> Int8,
        hour -> Timestamptz,
        step -> Int2,
        total -> Int8,
    }
}

diesel::table! {
    usage_minutes (tenant_id, api_key_id, minute, endpoint, outcome, status) {
        tenant_id -> Int8,
        api_key_id -> Int8,
        minute -> Timestamptz,
        endpoint -> Text,
        outcome -> Text,
        status -> Int2,
        total -> Int8,
        cost -> Int8,
    }
}

diesel::table! {
    users (id) {
        id -> Int8,
        email -> Text,
        name -> Text,
        password_hash -> Text,
        is_operator -> Bool,
        is_active -> Bool,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        has_short_password -> Bool,
        is_email_confirmed -> Bool,
    }
}

diesel::table! {
    webhooks (id) {
        id -> Int8,
        tenant_id -> Int8,
        user_id -> Nullable<Int8>,
        name -> Text,
        url -> Text,
        events -> Array<Text>,
        is_active -> Bool,
        payload_format -> Text,
        signature_style -> Text,
        timeout_seconds -> Int8,
        max_in_flight -> Int8,
        headers -> Jsonb,
        failing_since -> Nullable<Timestamptz>,
        disabled_reason -> Nullable<Text>,
        last_success_at -> Nullable<Timestamptz>,
        deleted_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        rate_per_second -> Nullable<Int8>,
        retry_gaps -> Nullable<Array<Int8>>,
        warned_at -> Nullable<Timestamptz>,
        probe_id -> Nullable<Uuid>,
    }
}

diesel::joinable!(access_tokens -> tenants (tenant_id));
diesel::joinable!(access_tokens -> users (user_id));
diesel::joinable!(api_keys -> tenants (tenant_id));
diesel::joinable!(api_keys -> users (user_id));
diesel::joinable!(invitations -> tenants (tenant_id));
diesel::joinable!(invitations -> users (invited_by));
diesel::joinable!(key_limits -> tenants (tenant_id));
diesel::joinable!(key_uses -> api_keys (api_key_id));
diesel::joinable!(memberships -> tenants (tenant_id));
diesel::joinable!(memberships -> users (user_id));
diesel::joinable!(recovery_codes -> users (user_id));
diesel::joinable!(second_factors -> users (user_id));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(signing_secrets -> tenants (tenant_id));
diesel::joinable!(signing_secrets -> webhooks (webhook_id));
diesel::joinable!(tenants -> plans (plan));
diesel::joinable!(told_expiries -> api_keys (api_key_id));
diesel::joinable!(told_expiries -> tenants (tenant_id));
diesel::joinable!(webhooks -> tenants (tenant_id));
diesel::joinable!(webhooks -> users (user_id));

diesel::allow_tables_to_appear_in_same_query!(
    access_tokens,
    api_keys,
    attempts,
    audit_chains,
    audit_entries,
    deliveries,
    delivery_hours,
    delivery_minutes,
    event_months,
    events,
    idempotency_keys,
    instance_facts,
    invitations,
    key_counts,
    key_limits,
    key_uses,
    mails,
    memberships,
    one_time_links,
    open_deliveries,
    plans,
    recovery_codes,
    second_factors,
    sessions,
    signing_secrets,
    tenants,
    told_expiries,
    unreachable_hosts,
    usage_hours,
    usage_latencies,
    usage_minutes,
    users,
    webhooks,
);
