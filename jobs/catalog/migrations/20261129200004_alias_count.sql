-- How often an alias was pointed somewhere: a rollback of the first promotion takes the alias away, a second rollback in
-- a row must not.
ALTER TABLE model_alias ADD COLUMN promotions integer NOT NULL DEFAULT 1;
COMMENT ON COLUMN model_alias.promotions IS 'Promotions that moved it, from 1.';
