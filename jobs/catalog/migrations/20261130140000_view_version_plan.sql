-- A version of a view keeps everything that its values depend on, so that nothing of it is looked up by name later. Versions
-- made before are given what is declared now: it is what they were read and computed with until today.
ALTER TABLE view_version ADD COLUMN plan json;
ALTER TABLE view_version ADD COLUMN retired_at timestamptz;
UPDATE view_version
SET plan = json_build_object(
    'definition', definition,
    'entity', (
        SELECT entity.definition FROM object_version AS entity
        WHERE entity.kind = 'entity' AND entity.name = view_version.definition ->> 'entity'
        ORDER BY entity.version DESC LIMIT 1
    ),
    'source', (
        SELECT source.definition FROM object_version AS source
        WHERE source.kind = 'source' AND source.name = view_version.definition -> 'input' ->> 'source'
        ORDER BY source.version DESC LIMIT 1
    ),
    'inputs', coalesce(
        (
            SELECT json_object_agg(input.name, coalesce(
                (
                    SELECT max(of_input.version) FROM view_version AS of_input
                    WHERE of_input.view = input.name AND of_input.state <> 'building'
                ), 1
            ) ORDER BY input.place)
            FROM json_array_elements_text(view_version.definition -> 'input' -> 'views') WITH ORDINALITY AS input (name, place)
        ), '{}'
    )
);
UPDATE view_version SET retired_at = now() WHERE state = 'retired';
ALTER TABLE view_version ALTER COLUMN plan SET NOT NULL;
ALTER TABLE view_version DROP COLUMN definition;
-- `dropped`: its rows and values are gone.
ALTER TABLE view_version DROP CONSTRAINT view_version_state_check;
ALTER TABLE view_version ADD CHECK (state IN ('building', 'current', 'retired', 'dropped'));
ALTER TABLE view_version ADD CHECK ((retired_at IS NOT NULL) = (state IN ('retired', 'dropped')));
