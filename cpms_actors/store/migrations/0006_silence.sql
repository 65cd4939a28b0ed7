-- How long nothing may be heard of a transaction before it is closed provisionally (domain/silence.py), and since when nothing is.

ALTER TABLE tenants
    ADD COLUMN failed_start_s integer NOT NULL DEFAULT 300   CHECK (failed_start_s = 0 OR failed_start_s BETWEEN 60 AND 2592000),
    ADD COLUMN endless_s      integer NOT NULL DEFAULT 21600 CHECK (endless_s = 0 OR endless_s BETWEEN 60 AND 2592000);  -- 0: never

-- When a worker received the newest fact of the session. Of those that are here already nothing is known but that they are: they count
-- as heard of now, so that no limit is over before it began.
ALTER TABLE sessions ADD COLUMN heard_at timestamptz NOT NULL DEFAULT now();

-- The sweeper goes through the active sessions by id: of all there ever were, they are few.
CREATE INDEX sessions_active ON sessions (id) WHERE status = 'Active';

-- And of each of them it asks for the next session at the same EVSE, without reading what the charger did before. Partial, so that no
-- planner can take it for sessions_of_charger, which begins alike.
CREATE INDEX sessions_of_evse ON sessions (tenant_id, charger, evse, started_at) WHERE evse > 0;
