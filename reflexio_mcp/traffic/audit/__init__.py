"""From stored traffic to findings: one streaming pass over a period, with the call that follows from each finding."""
