-- What the fold and the verdicts look up is found in an index, whatever the planner knows and however many rows a tenant has.

-- One index for a start and for all of a charger's sessions: of two that begin alike a planner without statistics may take the wrong one,
-- and read all sessions of the charger for each of them. (Of OCPP 2.x there is no start_key, and nulls are never equal.)
DROP INDEX sessions_of_start;
DROP INDEX sessions_of_charger;
CREATE UNIQUE INDEX sessions_of_charger ON sessions (tenant_id, charger, start_key);

-- Row level security lets only functions into an index that are known to tell nothing of the rows, and lower() is none of them: with an
-- index on lower(id) every question after a token read all tokens of the tenant. So the id in small letters is a column.
ALTER TABLE tokens ADD COLUMN folded_id text NOT NULL GENERATED ALWAYS AS (lower(id)) STORED;
DROP INDEX tokens_of_any_case;
CREATE UNIQUE INDEX tokens_of_any_case ON tokens (tenant_id, folded_id);
