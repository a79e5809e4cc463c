"""Traffic on a cache and its ledger: what was offered, what came back, what was lost, doubled or stale."""
