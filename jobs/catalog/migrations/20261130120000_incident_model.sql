-- An incident is what a monitor found, or that a live model doesn't answer.
ALTER TABLE incident
    ALTER COLUMN monitor DROP NOT NULL,
    -- Windows are judged by monitors.
    ALTER COLUMN window_from DROP NOT NULL,
    ALTER COLUMN window_to DROP NOT NULL,
    -- The live model that doesn't answer; none where a monitor found something.
    ADD COLUMN model text,
    ADD CONSTRAINT incident_subject CHECK ((monitor IS NULL) <> (model IS NULL)),
    ADD CONSTRAINT incident_window CHECK (
        (window_from IS NULL) = (monitor IS NULL) AND (window_to IS NULL) = (monitor IS NULL)
    );

-- A model that goes on failing is one incident, whoever sees it.
CREATE UNIQUE INDEX incident_open_model ON incident (model) WHERE state = 'open';
