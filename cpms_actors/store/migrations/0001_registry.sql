-- The registry: who may connect and who may charge, and what each charger last said of itself.
--
-- Operators own tenants, sites, tokens and the left half of a charger's row; the session pool writes what chargers report (the right
-- half, and connectors) while it folds the journal. The gateway reads none of this: it is fed from the CPMS_REGISTRY bucket, which
-- the operations pool fills from these tables.
--
-- Every row belongs to a tenant, and row level security binds the role cpms_app to the tenants named in the setting cpms.tenants
-- (a comma-separated list, set per transaction). Without the setting that role sees no row and can write none.

CREATE TABLE tenants (
    id             text PRIMARY KEY CHECK (id ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
    name           text        NOT NULL DEFAULT '',
    profile0       boolean     NOT NULL DEFAULT false,
    strictness     text        NOT NULL DEFAULT 'lenient' CHECK (strictness IN ('strict', 'lenient')),
    offline        text        NOT NULL DEFAULT 'cached' CHECK (offline IN ('cached', 'accept', 'reject')),
    heartbeat_s    integer     NOT NULL DEFAULT 300 CHECK (heartbeat_s BETWEEN 10 AND 86400),
    currency       text        NOT NULL DEFAULT 'EUR' CHECK (currency ~ '^[A-Z]{3}$'),
    timezone       text        NOT NULL DEFAULT 'UTC',
    default_tariff text,       -- a tariff's id; null: sessions without a tariff of their own are free
    created_at     timestamptz NOT NULL DEFAULT now()
);

INSERT INTO tenants (id, name) VALUES ('default', 'The tenant of /ocpp/<charger>');

CREATE TABLE sites (
    tenant_id  text        NOT NULL REFERENCES tenants (id),
    id         text        NOT NULL,
    name       text        NOT NULL DEFAULT '',
    timezone   text,       -- null: the tenant's
    address    text,
    city       text,
    country    text CHECK (country ~ '^[A-Z]{2}$'),  -- ISO 3166-1 alpha-2
    latitude   double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude  double precision CHECK (longitude BETWEEN -180 AND 180),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE chargers (
    tenant_id        text        NOT NULL REFERENCES tenants (id),
    identity         text        NOT NULL,
    -- what the operator decides
    security_profile integer     NOT NULL DEFAULT 1 CHECK (security_profile BETWEEN 0 AND 3),
    credential       bytea CHECK (octet_length(credential) = 32),  -- keyed digest of the password, never the password
    boot             text        NOT NULL DEFAULT 'Accepted' CHECK (boot IN ('Accepted', 'Pending', 'Rejected')),
    enabled          boolean     NOT NULL DEFAULT true,
    site_id          text,
    model            text,
    note             text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    -- what the charger said of itself, and the state of its connection (its number: the end of an older one does not count)
    vendor           text,
    reported_model   text,
    serial           text,
    firmware         text,
    ocpp             text,
    connected        boolean     NOT NULL DEFAULT false,
    connection       bigint,
    last_seen_at     timestamptz,
    booted_at        timestamptz,
    boot_status      text,
    PRIMARY KEY (tenant_id, identity),
    FOREIGN KEY (tenant_id, site_id) REFERENCES sites (tenant_id, id)
);

CREATE INDEX chargers_of_site ON chargers (tenant_id, site_id) WHERE site_id IS NOT NULL;

-- No foreign key to chargers: the journal may tell of a charger that was since removed, and that must not stop its lane.
CREATE TABLE connectors (
    tenant_id    text        NOT NULL,
    charger      text        NOT NULL,
    evse         integer     NOT NULL,  -- 0 is the charger itself
    connector    integer     NOT NULL,
    status       text        NOT NULL,
    error_code   text,
    info         text,
    vendor_error text,
    status_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, charger, evse, connector)
);

CREATE TABLE tokens (
    tenant_id  text        NOT NULL REFERENCES tenants (id),
    id         text        NOT NULL,
    kind       text        NOT NULL DEFAULT 'ISO14443',     -- OCPP 2.x IdTokenEnumType
    status     text        NOT NULL DEFAULT 'Accepted',     -- OCPP 2.x AuthorizationStatusEnumType
    group_id   text,
    parent_id  text,
    expires_at timestamptz,
    note       text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

-- OCPP 1.6 section 7.15 (CiString20Type) and OCPP 2.x (identifierString): a token's id does not know upper from lower case.
CREATE UNIQUE INDEX tokens_of_any_case ON tokens (tenant_id, lower(id));

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE sites ENABLE ROW LEVEL SECURITY;
ALTER TABLE chargers ENABLE ROW LEVEL SECURITY;
ALTER TABLE connectors ENABLE ROW LEVEL SECURITY;
ALTER TABLE tokens ENABLE ROW LEVEL SECURITY;

-- Which tenants exist is no secret from the pools, and they must know it before they can name them in cpms.tenants: everybody may
-- read tenants. To write one it must be named, like any other row.
CREATE POLICY read ON tenants FOR SELECT TO cpms_app USING (true);
CREATE POLICY add ON tenants FOR INSERT TO cpms_app
    WITH CHECK (id = ANY (string_to_array(current_setting('cpms.tenants', true), ',')));
CREATE POLICY change ON tenants FOR UPDATE TO cpms_app
    USING (id = ANY (string_to_array(current_setting('cpms.tenants', true), ',')));

CREATE POLICY tenant ON sites TO cpms_app
    USING (tenant_id = ANY (string_to_array(current_setting('cpms.tenants', true), ',')));
CREATE POLICY tenant ON chargers TO cpms_app
    USING (tenant_id = ANY (string_to_array(current_setting('cpms.tenants', true), ',')));
CREATE POLICY tenant ON connectors TO cpms_app
    USING (tenant_id = ANY (string_to_array(current_setting('cpms.tenants', true), ',')));
CREATE POLICY tenant ON tokens TO cpms_app
    USING (tenant_id = ANY (string_to_array(current_setting('cpms.tenants', true), ',')));

-- A tenant that has sessions cannot be unmade: nobody who serves chargers may delete one.
REVOKE DELETE ON tenants FROM cpms_app;
GRANT SELECT, INSERT, UPDATE ON tenants TO cpms_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON sites, chargers, connectors, tokens TO cpms_app;
