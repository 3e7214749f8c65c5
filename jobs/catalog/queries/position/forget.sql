-- Forgets how far a version had come that was dropped, or begins anew. Safe to repeat.
DELETE FROM catalog.position
WHERE view = $1 AND version = $2
