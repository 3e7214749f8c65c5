-- What was answered to a request that carried an idempotency key: the same key and path get the same answer.
CREATE TABLE reply (
    -- The caller's key.
    key text NOT NULL,
    -- Method and path: a key belongs to one kind of request.
    path text NOT NULL,
    -- SHA-256 of the body, in hex: the same key with another body is a mistake.
    request text NOT NULL,
    -- The answer, as JSON; null while the first request is at work.
    body json,
    -- When the work began, real time; an answer that never came frees the key.
    claimed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key, path)
);
CREATE INDEX reply_claimed_at ON reply (claimed_at);
