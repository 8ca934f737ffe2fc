"""What people's files look like: each client's own layout, comments and neighbours included."""

CLAUDE_DESKTOP = """{
  "globalShortcut": "Ctrl+Space",
  "mcpServers": {
    "filesystem": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-filesystem", "/home/jo/Documents"]
    }
  },
  "preferences": {"menuBarEnabled": false}
}
"""

CLAUDE_CODE = """{
  "numStartups": 41,
  "tipsHistory": {
    "new-user-warmup": 1,
    "shift-enter": 27
  },
  "mcpServers": {
    "playwright": {
      "type": "stdio",
      "command": "npx",
      "args": [
        "@playwright/mcp@latest"
      ],
      "env": {}
    }
  },
  "projects": {
    "/home/jo/caf\\u00e9": {
      "allowedTools": [],
      "history": [{"display": "say \\"hi\\" // not a comment"}]
    }
  }
}"""

CURSOR = """{
  // Servers for every project
  "mcpServers": {
    "github": {
      "url": "https://api.githubcopilot.com/mcp/",
      "headers": { "Authorization": "Bearer ${env:GITHUB_TOKEN}" }, // from my shell
    },
    /* "old": { "command": "old-server" }, */
  },
}
"""

VSCODE = """{
\t"inputs": [
\t\t{ "type": "promptString", "id": "perplexity-key", "description": "Perplexity API Key", "password": true }
\t],
\t"servers": {
\t\t// https://github.com/microsoft/playwright-mcp
\t\t"playwright": {
\t\t\t"command": "npx",
\t\t\t"args": ["-y", "@microsoft/mcp-server-playwright"]
\t\t}
\t}
}
"""

WINDSURF = '{"mcpServers":{"figma":{"serverUrl":"https://mcp.figma.com/mcp"}}}'

ZED = """// Zed settings
//
// For information on how to configure Zed, see the Zed
// documentation: https://zed.dev/docs/configuring-zed
{
  "theme": {
    "mode": "system",
    "light": "One Light",
    "dark": "One Dark",
  },
  "context_servers": {
    "postgres": {
      "source": "custom",
      "command": "postgres-mcp",
      "args": [],
      "env": {},
    },
  },
  "buffer_font_size": 15, // points
}
"""

CODEX = """# Mine
model = "gpt-5.1"  # the big one
approval_policy = "on-request"

[mcp_servers.docs]
command = "npx"
args = ["-y", "docs-mcp"]   # pinned elsewhere

[mcp_servers.docs.env]
TOKEN = "abc"

[projects."/home/jo/w"]
trust_level = "trusted"
"""

GEMINI = """{
  "security": {
    "auth": {
      "selectedType": "gemini-api-key"
    }
  },
  "mcpServers": {
    "httpServer": {
      "httpUrl": "http://localhost:3000/mcp",
      "timeout": 5000
    }
  }
}
"""

CLINE = """{
  "mcpServers": {
    "weather": {
      "command": "node",
      "args": ["/home/jo/weather/build/index.js"],
      "disabled": false,
      "autoApprove": []
    }
  }
}
"""

OPENCODE = """{
  "$schema": "https://opencode.ai/config.json",
  "model": "anthropic/claude-sonnet-5", // the quick one
  "mcp": {
    "jira": {
      "type": "remote",
      "url": "https://jira.example.com/mcp",
      "enabled": true
    },
    "files": { "type": "local", "command": ["npx", "-y", "files-mcp"], "environment": { "ROOT": "/home/jo" } }
  }
}
"""

QWEN = """{
  "security": { "auth": { "selectedType": "qwen-oauth" } },
  "mcpServers": {
    "docs": { "command": "docs-mcp", "args": ["--stdio"], "trust": false }
  },
  "$version": 3
}
"""

COPILOT = """{
  "mcpServers": {
    "serena": {
      "type": "local",
      "command": "uvx",
      "args": ["serena"],
      "tools": ["*"],
      "env": { "TOKEN": "${SERENA_TOKEN}" }
    }
  }
}
"""

CONTINUE = """{
  "mcpServers": {
    "other": { "command": "other-mcp", "args": [] }
  }
}
"""

SAMPLES = {
    "claude-desktop": CLAUDE_DESKTOP,
    "claude-code": CLAUDE_CODE,
    "cursor": CURSOR,
    "vscode": VSCODE,
    "windsurf": WINDSURF,
    "zed": ZED,
    "codex": CODEX,
    "gemini": GEMINI,
    "cline": CLINE,
    "opencode": OPENCODE,
    "qwen": QWEN,
    "copilot": COPILOT,
    "continue": CONTINUE,
}
