"""Personal data is what a library says is valid, where nobody in particular is left out."""

import pytest

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.traffic.rules.personal_data import PersonalData, personal_kinds


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("card", "Charge it to 4539 1488 0343 6467, please."),
        ("card", "Amex 378282246310005"),
        ("card", "Card 4111 1111 1111 1111 approved."),
        ("card", "for the order 4111 1111 1111 1111, as before"),
        ("card", "the order is paid, 4258757492066010"),
        ("card", "test cards: 5555555555554444"),
        ("card", "6759649826438453"),
        ("card", "4222222222222"),
        ("card", "my credit card number is 16 43 61 73 11 31 53 21 and it expires in April"),
        ("card", "the card 8109 7436 0353 5749 is lost"),
        ("card", "the statement for cc 6394000000000001"),
        ("iban", "the registry's own example is BE68 5390 0754 7034"),
        ("iban", "RE42 2004 1010 0505 0001 3M02 606"),
        ("iban", "my IBAN is MA64011519000001205000534921"),
        ("iban", "DE89-3704-0044-0532-0130-00"),
        # as pages and keyboards write them
        ("card", "card 4111\u00a01111\u00a01111\u00a01111"),
        ("card", "カード " + "".join(chr(0xFF10 + int(digit)) for digit in "4539148803436467")),
        ("card", "card 4539\u200b1488 0343 6467"),
        ("iban", "DE89\u202f3704\u202f0044\u202f0532\u202f0130\u202f00"),
        ("number", "My SSN is 536\u201122\u20118726."),
        ("email", "write to jane.moreau1987\u200b@fastmail.org"),
        ("iban", "my iban is gb42nawi04454264788619"),
        ("iban", "Pay to DE89370400440532013000 and tell me."),
        ("iban", "my account is FR14 2004 1010 0505 0001 3M02 606 at the post"),
        ("number", "my national insurance number is AB123456C"),
        ("number", "NINO: AB 12 34 56 C"),
        ("number", "my NI number is AB 12 34 56 C"),
        ("number", "N.I. no. CE 65 43 21 B"),
        ("phone", "the hotel is 1-212-736-5000"),
        ("phone", "ring me: 0171 3920000"),
        ("email", "email:jane.moreau1987@fastmail.org"),
        ("email", "mailto:jane.moreau1987@fastmail.org"),
        ("email", "我的邮箱是jane.moreau1987@fastmail.org谢谢"),
        ("email", "メールはjane.moreau1987@fastmail.orgまで"),
        ("email", "schreib an jürgen.müller@bäckerei.de"),
        ("number", "My SSN is 536-22-8726."),
        ("number", "536-22-8726 is my SSN"),
        ("number", "z8078221m es mi NIE"),
        ("number", "HETU: 131052a308t"),
        ("number", "My PAN number is ABBPM4567S with a lot of text behind it"),
        ("number", "mon NAS: 258 933 688"),
        ("number", "เลขบัตรประชาชน 2345678901234"),
        ("number", "Cédula: 00113918205"),
        ("number", "cartão de cidadão: 00000000 0 ZZ4"),
        ("number", "199109242397 är mitt pnr."),
        ("number", "mój PESEL to 44051401359"),
        ("number", "mijn BSN is 111222333"),
        ("number", "Il codice fiscale è RSSMRA85T10A562S."),
        ("number", "我的身份证号是11010519491231002X"),
        ("number", "meu CPF é 390.533.447-05"),
        ("number", "My national insurance id for France: 2 95 10 99 126 111 93"),
        ("phone", "Ring me on +44 20 7946 0958"),
        ("phone", "(212) 736-5000 is the hotel"),
        ("phone", "Meine Handynummer: 0171 3920000"),
        ("phone", "我的手机 13800138000"),
        ("email", "write to jane.moreau1987@fastmail.org"),
        ("address", "I live at 221 Harbour Street, Portland, OR 97205"),
        ("address", "Ich wohne in der Lindenstraße 14, 10969 Berlin"),
        ("address", "Berliner Straße 12, 10115 Berlin"),
        ("address", "Unter den Linden 77, 10117 Berlin"),
        ("address", "12 Smith St, Richmond VIC 3121"),
        ("address", "Storgatan 5, 114 55 Stockholm"),
        ("address", "Nørregade 10, 1165 København"),
        ("address", "Rua das Flores, 123, 01234-567 São Paulo"),
        ("address", "Rua Augusta 1500, São Paulo"),
        ("address", "il pacco in Via Garibaldi 21, Milano"),
        ("address", "Calle Mayor 8, Madrid."),
        ("address", "ul. Długa 5, Gdańsk"),
        ("address", "ул. Ленина, д. 5"),
        ("address", "東京都渋谷区神南1-2-3"),
        ("address", "北京市朝阳区建国路88号"),
        ("address", "서울특별시 강남구 테헤란로 123"),
        ("address", "P.O. Box 1234, Springfield, IL 62704"),
        ("address", "j'habite 12 rue de la Paix, 75002 Paris"),
    ],
)
def test_personal_data_is_found(kind: str, text: str) -> None:
    assert personal_kinds(text) == {f"personal-{kind}"}


@pytest.mark.parametrize(
    "text",
    [
        "Order 4539 1488 0343 6468 is late.",  # the check digit is wrong
        "the card of commit 4539148803436467abcdef",
        "postgres://jane:moreau1987@fastmail.org/db",
        "part AB123456C is out of stock",
        "2220175103860763 is of no card company.",
        "The order 4258757492066010 is on its way.",
        "Bestellnummer: 5439380695309647",
        "tracking no. 4230036626337883",
        "4584164361734 stands on the box.",
        "Card 7 is from 2015-03-14.",
        "8109 7436 0353 5749 is a number of nothing",
        "order_4539148803436467 has a number of its own",
        "User(id=4, name='Mary', joined='2018-11-30')",
        "https://news.example.org/item?id=19455465",
        "The tax code of shipping is txcd_92010001, from 2025-12-15 on.",
        "Ticket ID: 1081254332",
        "The contact of Sociale is 415921320.",
        "The IBAN DE89370400440532013001 is refused.",
        "It costs 1,234,567.89 and 3.14159265358979 is pi.",
        "The meeting is on 12.05.2024 at 10:30, room 221.",
        "1716239022 is the time in seconds, 20240501123000 the other.",
        "Version 10.0.19045.3803 of 2023-12-12",
        "Mail noreply@example.com or support@shop.example to ask.",
        "git@github.com:owner/repository.git",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
        "Route 66 goes 2448 miles from Chicago to Santa Monica.",
        "ISBN 978-3-16-148410-0",
        "10 Best Place names, 2023 Edition",
        "On March 12, 2023 The Guardian wrote it.",
        "In 1990 Wall Street fell.",
        "第3章 第5号",
        "192.168.100.200 answers on port 8080",
        "Auf Platz 2, Bayern, stand es lange.",
        "Via Skype 15 people joined, Rome was late.",
        "ni number AB 12 34 56 E has another last letter",
        "uni no. AB 12 34 56 C",
    ],
)
def test_other_numbers_and_addresses_are_none(text: str) -> None:
    assert not personal_kinds(text)


def test_each_kind_is_one_finding_with_counts_by_user() -> None:
    found = PersonalData()
    for number, user in enumerate(("ada", "ada", "bob")):
        turn = StoredInteraction(interaction_id=1, content=f"write to jane.moreau{number}@fastmail.org")
        stored = StoredRequest(request_id=f"r{number}", user_id=user)
        found.request(RequestWithInteractions(request=stored, interactions=[turn]))
    (emails,) = [one for one in found.founds if one.count]
    assert emails.rule.id == "personal-email"
    assert emails.notes == {"of ada": 2, "of bob": 1}
