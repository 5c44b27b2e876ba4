"""What every browser test insists on: no script error, no CSP violation, no request to anybody else."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.async_api import ConsoleMessage, Page, Request

BROWSER = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Two accessible names for one thing are a bug; so are fields nobody names.
UNNAMED = """() => [...document.querySelectorAll('input:not([type=hidden]), textarea, select, button, a[href]')]
  .filter((node) => !node.closest('[aria-hidden=true]'))
  .filter((node) => !(node.labels?.length || node.getAttribute('aria-label') || node.textContent.trim()))
  .map((node) => node.outerHTML)"""

# WCAG 2.2 success criterion 1.4.3: 4.5:1 for text, computed over the first opaque background behind it.
POOR_CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement || at.getRootNode().host) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const inside = (node) => node.shadowRoot ? all(node.shadowRoot) : [];
  const all = (root) => [...root.querySelectorAll('*')].flatMap((node) => [node, ...inside(node)]);
  return all(document)
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
    .filter((node) => node.checkVisibility({ visibilityProperty: true }))
    .filter((node) => !node.closest('[aria-hidden=true], script, style, .hidden'))
    .map((node) => {
      const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), node.outerHTML.slice(0, 200)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


class Witness:
    """Collects complaints about every watched page. `expected` holds parts of console messages a test provokes."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.expected: list[str] = []

    def watch(self, page: Page) -> None:
        """From now on."""
        page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        page.on("console", self._on_console)
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in self.expected):
            self.complaints.append(f"console {message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        host = urlsplit(request.url).hostname
        if host not in ("127.0.0.1", "localhost") and not request.url.startswith(("data:", "blob:")):
            self.complaints.append(f"request to a third party: {request.url}")
