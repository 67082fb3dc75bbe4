"""Text as Markdown, read back by an independent parser."""

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tokka.release.markdown import code_block, inline, link, markdown_table, prose
from tokka.release.table import Strong, Table

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")
NASTY = st.text(
    alphabet=st.one_of(
        st.sampled_from(list("|`*_[]()<>&#~\\!-+={}:/.'\" \n\t$")),
        st.characters(exclude_categories=["Cs", "Cc"]),
    ),
    max_size=40,
)


def plain_text(markdown: str) -> str:
    """Return the text a reader sees, and make sure that nothing in it is markup."""
    tokens = [child for token in PARSER.parse(markdown) for child in token.children or []]
    assert {token.type for token in tokens} <= {"text", "text_special"}, tokens
    return "".join(token.content for token in tokens)


@given(NASTY)
def test_inline_text_reads_as_it_was_written(text: str) -> None:
    shown = " ".join(text.split())
    assert plain_text(f"x {inline(text)} x") == f"x {shown} x"
    assert plain_text(f"{inline(text)} x") == f"{shown} x".lstrip()


@given(st.lists(st.tuples(NASTY, NASTY), min_size=1, max_size=4))
def test_no_text_breaks_out_of_its_cell(rows: list[tuple[str, str]]) -> None:
    html = PARSER.render(markdown_table(Table(("a", "b"), rows, "lr")))
    assert html.count("<tr>") == len(rows) + 1
    assert html.count("<td") == 2 * len(rows)
    assert html.count("<table>") == 1
    assert html.rstrip().endswith("</table>")


@given(NASTY)
def test_a_code_block_holds_its_text_and_ends(text: str) -> None:
    tokens = PARSER.parse(f"{code_block(text, 'text')}\n\n# after")
    assert [token.type for token in tokens] == ["fence", "heading_open", "inline", "heading_close"]
    assert tokens[0].content.strip("\n") == text.strip("\n")


def test_prose_keeps_the_authors_markdown() -> None:
    html = PARSER.render(prose("See [the paper](https://example.org), **read** <https://example.org>."))
    assert "<strong>read</strong>" in html
    assert html.count('<a href="https://example.org">') == 2


def test_prose_has_no_html_and_leaves_no_fence_open() -> None:
    html = PARSER.render(f"{prose('<script>alert(1)</script> <img src=x> <!-- hidden')}\n\n# after")
    assert "<script" not in html
    assert "<img" not in html
    assert "hidden" in html
    for fence in ("```", "~~~~", "```` python"):
        html = PARSER.render(f"{prose(f'a{chr(10)}{fence}{chr(10)}b')}\n\n# after")
        assert "<h1>after</h1>" in html


def test_a_link_ends_where_it_should() -> None:
    html = PARSER.render(link("a]b", "https://example.org/x (y)"))
    assert html == '<p><a href="https://example.org/x%20%28y%29">a]b</a></p>\n'


def test_the_best_of_a_row_is_bold() -> None:
    assert markdown_table(Table(("a",), [(Strong("1|2"),)], "c")).splitlines()[2] == "| **1\\|2** |"
