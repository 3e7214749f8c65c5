-- Forgets how far a version that was dropped had come. Safe to repeat.
DELETE FROM catalog.position
WHERE view = $1 AND version = $2
