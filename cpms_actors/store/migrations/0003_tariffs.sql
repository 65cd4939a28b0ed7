-- Tariffs, where they apply, and the CDRs made with them.
--
-- Nothing here that tells of money is ever changed: a tariff gets a new version, a CDR gets a credit (domain/cdr.py). The role cpms_app
-- lacks the rights to change them, and a trigger refuses everybody else who has no business to.

CREATE TABLE tariffs (
    tenant_id  text        NOT NULL REFERENCES tenants (id),
    id         text        NOT NULL,
    version    integer     NOT NULL CHECK (version >= 1),
    valid_from timestamptz NOT NULL,      -- sessions that start at or after it; of the versions valid then, the highest is in force
    document   jsonb       NOT NULL,      -- domain.tariff.Tariff
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id, version)
);

-- The narrowest scope decides: charger, then site, then tenants.default_tariff. No row: the next wider scope.
CREATE TABLE tariff_assignments (
    tenant_id  text        NOT NULL REFERENCES tenants (id),
    scope      text        NOT NULL CHECK (scope IN ('charger', 'site')),
    key        text        NOT NULL,      -- the charger's identity, or the site's id
    tariff_id  text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, scope, key)
);

CREATE TABLE cdrs (
    tenant_id        text        NOT NULL REFERENCES tenants (id),
    id               text        NOT NULL CHECK (length(id) BETWEEN 1 AND 36),  -- OCPI 2.2.1 mod_cdrs: CiString(39)
    session_id       bigint      NOT NULL REFERENCES sessions (id),
    session_version  integer     NOT NULL,
    charger          text        NOT NULL,
    token            text,
    started_at       timestamptz NOT NULL,
    ended_at         timestamptz NOT NULL CHECK (ended_at >= started_at),
    energy_wh        bigint      NOT NULL,
    charging_s       bigint      NOT NULL,
    parking_s        bigint      NOT NULL,
    currency         text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total_excl_minor bigint      NOT NULL,
    tax_minor        bigint      NOT NULL,
    total_incl_minor bigint      NOT NULL,
    tariff_id        text,                -- null: no tariff was assigned, the session was free
    tariff_version   integer,
    provisional      boolean     NOT NULL DEFAULT false,  -- drawn up while events of the session were missing
    credits          text,                -- the CDR that this one takes back; then every figure is its negative
    detail           jsonb       NOT NULL,                -- domain.cdr.Detail: the tariff itself, periods, lines
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, credits) REFERENCES cdrs (tenant_id, id),
    FOREIGN KEY (tenant_id, tariff_id, tariff_version) REFERENCES tariffs (tenant_id, id, version),
    CHECK ((tariff_id IS NULL) = (tariff_version IS NULL)),
    CHECK (total_excl_minor + tax_minor = total_incl_minor),
    CHECK (credits IS NOT NULL OR (energy_wh >= 0 AND charging_s >= 0 AND parking_s >= 0 AND total_excl_minor >= 0 AND tax_minor >= 0))
);

-- Whatever crashes or runs twice: one CDR per version of a session, one credit per CDR.
CREATE UNIQUE INDEX cdrs_once ON cdrs (tenant_id, session_id, session_version) WHERE credits IS NULL;
CREATE UNIQUE INDEX cdrs_credited_once ON cdrs (tenant_id, credits) WHERE credits IS NOT NULL;
CREATE INDEX cdrs_of_session ON cdrs (tenant_id, session_id);
CREATE INDEX cdrs_by_time ON cdrs (tenant_id, created_at, id);

-- A session that cannot be priced: kept out of the others' way, tried again ever more rarely, and at once when it is amended.
CREATE TABLE session_rating_errors (
    tenant_id       text        NOT NULL REFERENCES tenants (id),
    session_id      bigint      NOT NULL REFERENCES sessions (id),
    session_version integer     NOT NULL,
    error           text        NOT NULL,
    attempts        integer     NOT NULL CHECK (attempts >= 1),
    failed_at       timestamptz NOT NULL,
    retry_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, session_id)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% are never changed: write a new one', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER cdrs_are_final BEFORE UPDATE OR DELETE ON cdrs FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER tariffs_are_final BEFORE UPDATE OR DELETE ON tariffs FOR EACH ROW EXECUTE FUNCTION refuse_change();

ALTER TABLE tariffs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tariff_assignments ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdrs ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_rating_errors ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON tariffs TO cpms_app
    USING (tenant_id = ANY ((SELECT string_to_array(current_setting('cpms.tenants', true), ','))::text[]));
CREATE POLICY tenant ON tariff_assignments TO cpms_app
    USING (tenant_id = ANY ((SELECT string_to_array(current_setting('cpms.tenants', true), ','))::text[]));
CREATE POLICY tenant ON cdrs TO cpms_app
    USING (tenant_id = ANY ((SELECT string_to_array(current_setting('cpms.tenants', true), ','))::text[]));
CREATE POLICY tenant ON session_rating_errors TO cpms_app
    USING (tenant_id = ANY ((SELECT string_to_array(current_setting('cpms.tenants', true), ','))::text[]));

-- The role has no right that no file grants; of what tells of money it may change nothing.
GRANT SELECT, INSERT ON tariffs, cdrs TO cpms_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tariff_assignments, session_rating_errors TO cpms_app;
