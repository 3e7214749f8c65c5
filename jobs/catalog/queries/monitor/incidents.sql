-- Incidents of one monitor, or all, those of models too, newest first; with who was or has to be told.
SELECT
    one.id, one.monitor, one.model, one.state, one.window_from, one.window_to, one.summary, one.opened_at,
    one.closed_at,
    coalesce(
        (
            SELECT
                json_agg(
                    json_build_object('notifier', told.notifier, 'delivered_at', told.delivered_at)
                    ORDER BY told.notifier
                )
            FROM catalog.notification AS told
            WHERE told.incident = one.id
        ),
        '[]'
    ) AS notified
FROM catalog.incident AS one
WHERE $1::text IS NULL OR one.monitor = $1
ORDER BY one.opened_at DESC, one.id DESC
