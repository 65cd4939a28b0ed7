-- What operators did: one row for each change, written in the transaction of the change, so that there is neither one without the other.
--
-- The operations pool writes it, with the operator whom the broker's permissions vouch for. No process may change or delete a row.

CREATE TABLE audit (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text        NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    operator  text        NOT NULL,
    verb      text        NOT NULL,             -- the admin verb, such as parked.discard
    subject   text        NOT NULL,             -- what it was done to: its kind and its name, such as 'parked 7'
    detail    jsonb       NOT NULL DEFAULT '{}' -- what else the verb has to say, such as the reason that was given
);

CREATE INDEX audit_of_tenant ON audit (tenant_id, id);
CREATE INDEX audit_of_subject ON audit (tenant_id, subject, id);

ALTER TABLE audit ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON audit TO cpms_app
    USING (tenant_id = ANY ((SELECT string_to_array(current_setting('cpms.tenants', true), ','))::text[]));

GRANT SELECT, INSERT ON audit TO cpms_app;
