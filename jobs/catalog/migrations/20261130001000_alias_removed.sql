-- An alias that is taken away names nothing from then on.
ALTER TABLE model_alias_move ALTER COLUMN version DROP NOT NULL;
COMMENT ON COLUMN model_alias_move.version IS 'What it names from then on; null: nothing.';
