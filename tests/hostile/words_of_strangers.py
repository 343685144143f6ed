"""Texts that strangers may write: words, markup and JSON, and an independent reader of Markdown."""

from hypothesis import strategies as st
from markdown_it import MarkdownIt

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
words = st.text(st.sampled_from("ab1 _*`[]()<>!|\\#-+=.:/&;~$@\"'\n\tw")) | st.text(max_size=30)
MARKUP = ["[a](javascript:alert(1))", "![a](http://b/c.png)", "<script>x</script>", "<http://a>", "a | b", "\\[a](b)", "`a`"]
MARKUP += ["[a]: http://b", "[a][b]", "# a", "1. a", "- a", "> a", "---", "***", "&lt;", "a\n\n# b", "    code", "a\\", "``a`"]
MARKUP += ["[`a\\](b)", ">1", "www.a.b", "a@b.c", "https://a.b"]


def rendered(markdown):
    """(kinds of tokens, the text) by an independent reader of Markdown."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown)
    inner = [token for token in tokens for token in (token.children or [token])]
    return {token.type for token in inner}, "".join(token.content for token in inner if token.type in ("text", "code_inline"))
