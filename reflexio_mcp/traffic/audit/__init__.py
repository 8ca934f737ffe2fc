"""From stored traffic to findings: one streaming pass, rules in a declared table, examples without content."""

from reflexio_mcp.traffic.audit.findings import Example, Finding, NotRun
from reflexio_mcp.traffic.audit.running import Audit, run_audit
from reflexio_mcp.traffic.audit.table import RULES, Rule, Severity, rule

__all__ = ["RULES", "Audit", "Example", "Finding", "NotRun", "Rule", "Severity", "rule", "run_audit"]
