-- Gives the key $1 on the path $2 back: the work failed and may be asked for again.
DELETE FROM catalog.reply WHERE key = $1 AND path = $2 AND body IS NULL
