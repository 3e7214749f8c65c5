-- Scanned windows of monitors; a window scanned again replaces what was said of it.
CREATE TABLE monitor_scan (
    monitor text NOT NULL,
    window_from timestamptz NOT NULL,
    window_to timestamptz NOT NULL CHECK (window_to > window_from),
    status text NOT NULL CHECK (status IN ('ok', 'insufficient', 'warn', 'fail')),
    -- Figures and verdicts, the version that was watched, where the report lies. Not jsonb: that would lose the order.
    body json NOT NULL,
    scanned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (monitor, window_from, window_to)
);

-- What a monitor found, from the first window that failed until later ones are clean.
CREATE TABLE incident (
    id uuid PRIMARY KEY,
    monitor text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'closed')),
    -- From the first failing window to the end of the last one.
    window_from timestamptz NOT NULL,
    window_to timestamptz NOT NULL,
    -- The failing checks, for people.
    summary text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz
);

-- A monitor that goes on failing is one incident.
CREATE UNIQUE INDEX incident_open ON incident (monitor) WHERE state = 'open';

-- Who was told of an incident, or still has to be.
CREATE TABLE notification (
    incident uuid NOT NULL REFERENCES incident (id),
    notifier text NOT NULL,
    delivered_at timestamptz,
    PRIMARY KEY (incident, notifier)
);
