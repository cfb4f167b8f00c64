"""What one has: deleted, and had back."""

from playwright.sync_api import expect

from tests.page.conftest import Server, Visit


def test_what_was_deleted_is_had_back_or_gone_for_good(server: Server, visit: Visit) -> None:
    with server.client("keeper") as keeper:
        for name in ("letters", "tunes"):
            keeper.upload_corpus(b"Dear all, here are some letters. " * 20, name=name)
        visitor = visit("keeper")
        page = visitor.page
        page.get_by_role("link", name="Library").click()
        for name in ("letters", "tunes"):
            page.get_by_role("button", name=f"Delete {name}").click()
            page.get_by_role("button", name=f"Sure? {name}").click()
            expect(page.get_by_role("button", name=f"Restore {name}")).to_be_visible()
        assert list(keeper.corpora()) == []
        page.get_by_role("button", name="Restore letters").click()
        expect(page.get_by_role("button", name="Delete letters")).to_be_visible()
        page.get_by_role("button", name="Delete for good tunes").click()
        page.get_by_role("button", name="Sure? tunes").click()
        expect(page.get_by_role("heading", name="Deleted")).to_have_count(0)
        assert [each.name for each in keeper.corpora()] == ["letters"]
        assert list(keeper.corpora(deleted=True)) == []
