-- Says that the rows and values of a retired version are gone. Safe to repeat.
UPDATE catalog.view_version
SET state = 'dropped'
WHERE view = $1 AND version = $2 AND state IN ('retired', 'dropped')
