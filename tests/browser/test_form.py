"""The hosted form as people meet it: without JavaScript, by keyboard, on a phone, after a mistake, in six languages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

from gateway.web.texts import LANGUAGES, TEXTS
from tests.browser.witness import BROWSER, POOR_CONTRAST, UNNAMED, Witness
from tests.web.desk import Desk

pytestmark = BROWSER
EN = TEXTS["en"]


async def fill(page: Page, words: Any = EN, email: str = "erika@example.com", message: str = "Where is it?") -> None:
    await page.get_by_label(words["email"]).fill(email)
    await page.get_by_label(words["message"]).fill(message)


async def test_written_sent_and_thanked_without_javascript(served: Desk, open_page: Callable[..., Any]) -> None:
    page = await open_page(java_script_enabled=False)
    await page.goto(f"{served.url}/form/contact")
    served.now += 20
    await fill(page)
    await page.get_by_label(EN["name"]).fill("Erika")
    await page.get_by_label(EN["attachments"]).set_input_files(
        [{"name": "rechnung.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4\n"}]
    )
    await page.get_by_role("button", name=EN["send"]).click()
    await expect(page.get_by_role("heading", name=EN["thanks_title"])).to_be_visible()
    (draft,) = served.intake.drafts
    assert (draft.text, draft.author.display_name, draft.suspend) == ("Where is it?", "Erika", "")
    assert draft.attachments[0].filename == "rechnung.pdf"
    await expect(page.locator("code")).to_have_text(str(served.intake.receipt_ids[0]))


async def test_by_keyboard_alone_and_past_the_honeypot(served: Desk, page: Page) -> None:
    await page.goto(f"{served.url}/form/contact")
    served.now += 20
    await page.get_by_label(EN["name"]).focus()
    for words in ("Erika", "erika@example.com", "Order", "Where is it?"):
        await page.keyboard.type(words)
        await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")  # past the files
    assert await page.evaluate("document.activeElement.type") == "submit"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name=EN["thanks_title"])).to_be_visible()
    assert served.intake.drafts[0].suspend == ""


async def test_a_mistake_is_told_focused_and_nothing_is_written_twice(
    served: Desk, page: Page, witness: Witness
) -> None:
    witness.expected.append("status of 422")
    await page.goto(f"{served.url}/form/contact")
    served.now += 20
    await fill(page, email="erika", message="A long story.\nWith lines.")
    await page.get_by_role("button", name=EN["send"]).click()
    summary = page.get_by_role("alert")
    await expect(summary).to_be_focused()
    await expect(summary).to_contain_text(EN["invalid_email"])
    field = page.get_by_label(EN["email"])
    await expect(field).to_have_accessible_description(f"{EN['email_hint']} {EN['invalid_email']}")
    await expect(page.get_by_label(EN["message"])).to_have_value("A long story.\nWith lines.")
    assert await page.evaluate(POOR_CONTRAST) == []
    await summary.get_by_role("link", name=EN["email"]).click()
    await expect(field).to_be_focused()
    await field.fill("erika@example.com")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name=EN["thanks_title"])).to_be_visible()
    assert served.intake.drafts[0].text == "A long story.\nWith lines."


async def test_a_double_click_is_one_delivery(served: Desk, page: Page) -> None:
    await page.goto(f"{served.url}/form/contact")
    served.now += 20
    await fill(page)
    await page.get_by_role("button", name=EN["send"]).dblclick()
    await expect(page.get_by_role("heading", name=EN["thanks_title"])).to_be_visible()
    assert len({draft.delivery_key for draft in served.intake.drafts}) == 1


async def test_when_the_desk_cannot_take_it_the_text_stays_and_the_next_try_works(
    served: Desk, page: Page, witness: Witness
) -> None:
    witness.expected.append("status of 503")
    await page.goto(f"{served.url}/form/contact")
    served.now += 20
    served.refuse()
    await fill(page)
    await page.get_by_role("button", name=EN["send"]).click()
    await expect(page.get_by_role("alert")).to_contain_text(EN["unavailable"])
    await expect(page.get_by_label(EN["message"])).to_have_value("Where is it?")
    served.recover()
    await page.get_by_role("button", name=EN["send"]).click()
    await expect(page.get_by_role("heading", name=EN["thanks_title"])).to_be_visible()
    assert len(served.intake.drafts) == 1


@pytest.mark.parametrize("language", LANGUAGES)
async def test_six_languages_end_to_end(served: Desk, open_page: Callable[..., Any], language: str) -> None:
    page = await open_page(locale=language)
    await page.goto(f"{served.url}/form/contact")
    words = TEXTS[language]
    await expect(page.locator("html")).to_have_attribute("lang", language)
    await expect(page).to_have_title(words["title"])
    served.now += 20
    await fill(page, words)
    await page.get_by_role("button", name=words["send"]).click()
    await expect(page.get_by_role("heading", name=words["thanks_title"])).to_be_visible()
    assert served.intake.drafts[0].fields["lang"] == language


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(320, 640), (390, 844), (1280, 900)])
async def test_readable_on_phone_and_desktop(
    served: Desk, open_page: Callable[..., Any], width: int, height: int, scheme: str
) -> None:
    page = await open_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    for path in (
        "/form/contact",
        "/form/contact?lang=ru",
        "/form/contact/thanks?ref=0198c0de-0000-7000-8000-00001a2b3c4d",
    ):
        await page.goto(served.url + path)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert await page.evaluate(UNNAMED) == []
        assert await page.evaluate(POOR_CONTRAST) == []
    await expect(page.get_by_text("1A2B-3C4D")).to_be_visible()


async def test_the_address_of_another_site_comes_along(served: Desk, page: Page) -> None:
    await page.goto(f"{served.url}/form/contact?subject=Order+1042&page_url=https%3A%2F%2Fshop.example%2Fcart")
    served.now += 20
    await expect(page.get_by_label(EN["subject"])).to_have_value("Order 1042")
    await fill(page)
    await page.get_by_role("button", name=EN["send"]).click()
    await expect(page.get_by_role("heading", name=EN["thanks_title"])).to_be_visible()
    assert served.intake.drafts[0].fields["page_url"] == "https://shop.example/cart"
