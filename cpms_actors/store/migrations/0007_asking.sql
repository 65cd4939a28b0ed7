-- Sessions with events that are missing and may still come: their stations are asked (domain/asking.py). Of those whose station has said
-- that it has no more of them there will be ever more, and they have another flag. The old index had them all, and nobody used it.
DROP INDEX sessions_with_gaps;
CREATE INDEX sessions_to_ask ON sessions (id) WHERE flags LIKE '%gaps%';
