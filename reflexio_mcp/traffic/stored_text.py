"""The same as `results.text`."""

from reflexio_mcp.results.base import NOTICE as NOTICE
from reflexio_mcp.results.text import *  # noqa: F403
