"""Who runs next and what it costs: policy, candidates, accounting, caps and the forecast."""
