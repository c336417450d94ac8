"""An alert as other systems are told of it, by a route or a webhook: plain, or as OCSF has it."""
