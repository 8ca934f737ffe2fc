"""What counts as a secret, where it stands, and what only looks like one."""

import base64
import threading
from typing import Any

import pytest

from reflexio_mcp.rest.models import Interaction, RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.traffic.rules import secrets
from reflexio_mcp.traffic.rules.secrets import (
    asked_for,
    find_secrets,
    is_probable,
    looked,
    redact,
    redact_opening,
    redact_turn,
    secret_in,
)


@pytest.mark.parametrize(
    "text",
    [
        "My wifi password is Sonnenblume42, please remember it.",
        "can you remember that my PIN is 4827?",
        "the door code is 7719#",
        "our safe combination is 32-7-18-4",
        "my seed phrase is ocean velvet tiger lamp orbit quiz maple drift cactus royal senior hover",
        "I use hunter2hunter as my password everywhere",
        "Passphrase for the ssh key is “four blue horses sing”",
        "Das Kennwort für den Laptop lautet Tr3ppenhaus",
        "Le mot de passe du wifi est Tournesol88!",
        "mi contraseña es perro!Loco9",
        "la mia password è Gattino_77x",
        "minha senha é cachorro99!",
        "mijn wachtwoord is Zonnebloem_31",
        "Hasło do wifi to Slonecznik!44",
        "Lösenordet till wifi är Solros#88",
        "Wifi şifresi Aycicegi!34",
        "Пароль от вайфая: Podsolnuh!7",
        "код от двери 3390",
        "Wi-Fiのパスワードは Himawari#2024 です",
        "暗証番号は4821です",
        "我的密码是abc_Panda77",
        "와이파이 비밀번호는 haebaragi!22 입니다",
        "كلمة المرور هي Shams!2024",
        "mật khẩu wifi là HoaHuong_9",
        # with a word such as `is` that few languages share, without one, and with letters that have marks
        "I set the login for the router to admin / Sn0wdrift99",
        "the login to our wiki: ruta / Blu3Lamp77",
        "my netflix password, in case you need it, is bluewhale_92",
        "our zoom password is sunny-meadow-41",
        "Mein Kennwort fürs Portal hab ich auf Herbst#2031x geändert",
        "cambié mi contraseña a Girasol#58x ayer",
        "J'ai changé mon mot de passe du portail en Lilas#2027",
        "Пароль від вайфаю Kalyna!55",
        "Wi-Fi slaptažodis yra Gandras!29",
        "WiFi parole ir Stārķis!41",
        "A wifi jelszó Gólya!38x",
        "Parola de la wifi este Barza!64x",
        "parola mea este Șopârlă77!",
        "mi clave del banco es 9917",
        "a senha do cartão é 6612",
        "kart şifrem 9024",
        "رقمي السري 5512",
        # each in a place of its own
        "| user | password |\n|---|---|\n| ruta | Kv9!xyLm2 |",
        "| Passwort | Konto |\n| :-- | --: |\n| - | leer |\n| `Wolke77xy` | Post |\nEnde",
        "creds:\nruta\nKv9!xyLm2",
        # a backslash and a letter, or the code of a blank, within a password
        r"my password is Tr0ub\nador9X!",
        r"the password is Sommer\t2024!",
        r"password is CORP\tom2024!x",
        "password is My%20Secr3t!Pass",
        "see https://example.net/a and note that the password is My%20Secr3t!Pass",
    ],
)
def test_what_people_tell_is_found(text: str) -> None:
    assert find_secrets(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("my AWS key is AKIA" + "QX7T2M5RZ4WJ6PKD", "AWS key"),
        ("my AWS key is AKIA" + "QX7T2M5RZ4WJ6PKD.", "AWS key"),
        ("huggingface token: hf_" + "b4Wq8ZtR2nLxV6kMcP9sJdY3fHgT7aEu1Q", "Hugging Face token"),
        ("tailscale_api_key: tskey-" + "api-pVMw0qDPAjd6-OcZFv1niUK8iO5YAgkBx", "tailscale-api-key"),
        ("my AWS key is Sonnenblume42", "password in a sentence"),
        ("HF_TOKEN=Mn83kkPqTt82bW", "password or key beside its name"),
    ],
)
def test_a_key_whose_form_is_known_is_called_by_it_whatever_stands_before_it(text: str, kind: str) -> None:
    assert [one.kind for one in find_secrets(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "JIRA_API_TOKEN=" + "fQ82mzLwP01xKc93Vt",
        "JIRA\\_API\\_TOKEN=" + "fQ82mzLwP01xKc93Vt",
        '"client_secret" : "' + 'p0Lm93kxQvTt82bW"',
        "curl -u deploy:Mn83kkPq https://ci.example.net/job",
        "Authorization: Basic " + base64.b64encode(b"deploy:Mn83kkPq").decode(),
        "postgres://app:k1wiFru1t@db.internal:5432/shop",
        "ALTER USER app WITH PASSWORD 'gr4nIte_Rock'",
        "sshpass -p 'Riv3rBend' ssh ops@10.0.0.8",
        "the pair is AKIA" + "Z5LX7QPN3JMU2KHT and 9wQzL0vXcR2bT7uYpK4m" + "N8sJ1dF6gH3aEeWqZxVb, thanks",
        "X-Api-Key: 7f3c9a1b-2d4e-4f5a-8b9c-0d1e2f3a4b5c",
        "Authentication key: AIhq5Xyb1Gga9Q35",
        "(QvX8Q" + "~7C-_Kj~RpuHVrD4Tuf1oHXGh.DQ6kcjbEn)",
        'curl -u ":d2LkV78zLx!t" https://search.example.net:9200',
        "xapp-" + "1-A02B3C4D5E6-1234567890123-" + "9f3a07c1b85d2e46" * 4,
        "registry.example.net/:_authToken=743b294a-cd03-4f1c-9d64-0242ac120002",
        "https://api.example.net/v1/rates?access_token=7f3kQ9zLm2Xc8Vb4&currencies=EUR",
        "sk-proj-" + "Vq8tdNkHV6pmbCbwilTe" + "T3BlbkFJ" + "4WDnpdEwKNm7wVBqYM0o",
        "CREATE USER app IDENTIFIED BY 'gr4nite;Rock'; CREATE USER web IDENTIFIED BY tig3rLily",
        # aligned, in other files, and in forms that say what they are
        'mapsApiKey:            "' + '6b1e84fd57f430fc59afa8fad3dbda7c"',
        'ado_pat =  "' + 'iyfmob6xjrfmit67anxbot64umfx2clwx7dz5ynxi4q2z3uqegva"',
        '#define IO_KEY       "' + 'aio_KrZCb67VvzSaM7fr3nMXrfZ1uMPJ"',
        "machine api.example.net\n  login ada\n  password " + "gr4niteRock",
        "ada:$2b$12$" + "Wq9sT1xv0LmZk3RyBnH8cuO7dEfGaJiKpLsVbNmQwErTyUiOpAsDf",
        "root:$6$" + "LnUhhUi45srUKt9i$" + "Ab1./" * 17 + "z:19000:0:99999:7:::",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\ndata:\n  extra: " + "YWRhOmdyNG5pdGVSb2Nr\n",
        "https://chat.example.net/api/webhooks/148392840000/" + "ihUFAgIi-OsnNHsjJBpvzkzZOicbe0R2UkWo1nvO",
        "Authorization: Basic " + base64.b64encode(b"ada:open gr4nite").decode(),
        "http://localhost:5678/webhook/" + "1c5bd2b4-2a4f-4c7e-9d0b-0f6f3a1c9d7e",
        'kind: "Secret"\ndata:\n  extra: ' + "YWRhOmdyNG5pdGVSb2Nr\n",
        "dp.audit." + "bAqhcVzrhy5cRHkOlNTc0Ve6w5NUDCpcutm8vGE9myj",
        "Zq3" + "fK9" * 16 + "x" + "JQQJ99BF" + "ACAAAAALGcqjAAASAZDO3eqT",
        # in addresses and codes that let in whoever has them
        "https://shop.blob.example.net/c?sp=rl&sig=q3Fj8%2BrT5LmZx0Va7Yb2Kc9%2FWd4Ne6Ph1Qs3Ut5Iw7E%3D",
        "SharedAccessSignature=sv=2021-06-08&amp;sig=" + "kV8pQz21xYb7Lm0Nc3Rt5Wd9Fh2Jk4Sv6Gp8Qa1Ze3U=",
        "WIFI:T:WPA;S:Kavine;P:zalia7kregzde;;",
        "WIFI:S:Blue\\;Door;T:WPA2;H:true;P:old ladder;;",
        "access_token$production$" + "h7f2k9x4m1q8w3z6$5c8e1f0a9b7d6e3c2f4a8b1d0e9c7f6a",
        # a name and its value, however the two are written
        '<add key="mapsSecret" value="' + 'Wq7LmZ0xVb93KtRy"/>',
        "- name: REPORT_API_TOKEN\n  value: " + "Wq7LmZ0xVb93KtRy",
        'variable "report_token" {\n  default = "' + 'Wq7LmZ0xVb93KtRy"',
        r'"{\\\"auths\\\":{\\\"quay.example\\\":{\\\"auth\\\":\\\"' + r'Wq7LmZ0xVb93KtRy\\\""',
        'api_keys = ["' + 'Wq7LmZ0xVb93KtRy"]',
        "report token = ' " + "Wq7LmZ0xVb93KtRy '",
        'accessKey "' + 'g!R4n:te_Rock"',
        'setopt(handle, CURLOPT_PASSWORD, "' + 'gr4niteRock"',
        'val password: String = "' + 'gr4niteRock"',
        'if (password !== "' + 'gr4nite#Rock"){',
        'reportToken = "' + 'wKfRtZqPmLxVbNhYcJdGsA"',
        "SECRET_KEY = '" + "k(9v^wz!q2$m%(x=+h&r@7t#n5-cj3u8_b1*p6y)d0sfae4gi'",
        # in calls and commands
        'new NetworkCredential("ada", "' + 'gr4niteRock")',
        'new DirectoryEntry("LDAP://dir.example",\n  "ADA",\n  "' + 'gr4niteRock")',
        "HTTPBasicAuth('ada', '" + "gr4niteRock')",
        "push.setVapidDetails('mailto:ada@example.net', PUBLIC, '" + "w8Kd3Lq0Zr" * 4 + "a1x')",
        r"psexec \\10.0.0.8 -u Administrator -p " + "gr4nite_rock cmd",
        "vault operator unseal " + "Wq7LmZ0xVb93KtRyWq7LmZ0xVb93Kt+yU8n5Gs2Hf4c=",
        "vault write auth/approle/login role_id=x secret_id=" + "6b174c20-f6de-453c-94d2-6018fcceff65",
        # in files that keep them
        "<id>{report}</id><secret>{report AQAAABAAA " + "wq7lmz0xvb93ktry8n5gs2hf4c}</secret>",
        "<master>{" + "L+wX9REL8CAH/EkcFN4NPLUxjbEZ6nQ79feSk+xDxhE=}</master>",
        "Private-Lines: 2\n" + "AAABAQCO" + "eW40w29w" * 7 + "\n" + "V58mWLrF" * 8 + "\nPrivate-MAC: 1",
        (
            r'"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey", "value": "'
            'GhBi8O0TErBM9eTl3UppUGZh"'
        ),
        "$krb5asrep$23$" + "8cf8eb5287e28b40" * 2 + "$" + "3e05ecc13548bec8" * 5,
        "smtps://ada@example.net:" + "gr4niteRock@smtp.example.net:465",
        # in base64, once and twice
        "config: " + base64.b64encode(b'report_secret="Wq7LmZ0xVb93KtRy"\n').decode(),
        "config: " + base64.b64encode(base64.b64encode(b'report_secret="Wq7LmZ0xVb93KtRy"\n')).decode(),
        # forms
        "LieO7Jzt" * 5 + "_4c:B" + "FEuu_r7cd5" * 8 + "h-lHB6",
        "GOOG1" + "EW5N7Q2ZK4" * 5 + "T8R3LP",
        "dckr_pat_" + "7bwgM4jG5SQvxcvmNzhKj8PQjxo" + "dckr_pat_" + "7bwgM4jG5SQvxcvmNzhKj8PQjxo",
        "hf_" + "SwBATDnaPfgMWAtDQmmoIMAUmzdAAlexyr" + "extra",
        "pplx-" + "x1PxF9l6ijAXhsPWLjbBk1kd56h9rfNAqlNSooFAksIUYwXZ" + "pplx-",
        "HRKU-" + "f1274537-88fb-4eaf-8eda-453bd9a496ea",
        "phx_" + "6nYpKltuz4gvt7LessoO3swaOH41RJh6pzT1x1NoeTrKbTuAaxtVMA7JmMxq",
        "pha_" + "CkeaIpOESh8OGcD1bhPGh6kH9UjVGp6nnaC6vF4E7q9T",
        "sbp_v0_" + "7658c5a93d6f38dd038df5cc2a7c3d4d7b6bc76e",
        "cfk_" + "8fqkxWi4TYQn4bPzsHyl0JuMV8UwHV2V1xpv54rj1Ui1koxj",
        "glwt-" + "H9dr9LJjGiSfBdxzDVyHi7vSdDcAftOmJ",
        "pscale_tkn_" + "3elYrFhY-AsAYWvwLcBqxQ6Wj44fTTzp1YPz0Y9B",
        "da2-" + "nmbqhbb63zabjactesiydcfuvu",
    ],
)
def test_what_people_paste_is_found(text: str) -> None:
    assert find_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "ghp_" + "x" * 36,
        "apiKey: items.key",
        "X-Api-Key:",
        "export OPENAI_API_KEY=$OPENAI_API_KEY",
        "set API_KEY=your_api_key_here in the .env file",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        'password = os.environ["DB_PASSWORD"]',
        "The password is incorrect, says the page.",
        "My password must have 8 characters and 1 digit.",
        "Is Password123 a good password?",
        "The access token expires after 3600seconds",
        "connect pin 4827 of the FPGA",
        "error code is 40123",
        "the zip code is 94107",
        "Das Passwort ist falsch",
        "la clave es practicar 30minutos al día",
        "密码至少需要8位",
        "비밀번호는 8자 이상이어야 합니다",
        "keyVaultToStoreSecrets: team-qat-1208358310",
        "commit 3f2a9c1d8e7b6a5f4e3d2c1b0a9f8e7d6c5b4a39 broke the auth",
        "postgres://user:password@localhost:5432/db",
        "Authorization: Bearer <token>",
        '"key": "3f2504e0-4f89-11d3-9a0c-0305e82c3301"',
        '"token_hash": "9f86d081884c7d659a2feaa0c55ad015"',
        '"hashedPassword": "5f4dcc3b5aa765d61d8327deb882cf99"',
        "key_checksum=9f86d081884c7d659a2feaa0c55ad015",
        "recaptcha_site_key: 6LfT" + "k2AaAAAAAJcZVRqyHh71UMIEGNQ4",
        "cache-key: node-modules-v3-8f14e45fceea167a5a36dedd4bea2543",
        "restore-keys: linux-8f14e45fceea167a5a36",
        'nextPageToken: "CAUQAA3f9K2mQ7xZ"',
        "image: auth-service:1.4.2-8f3a2c1",
        "AuthModule2FactoryProvider: AuthModule2FactoryProviderImpl",
        'api_key: "0123456789abcdef0123456789abcdef"',
        "SlackAppConfigurationAccessTokenHere is the token: AccessTokenGoesHere1",
        "secret_version: projects/12/secrets/db-pass/versions/3a",
        # what goes through the alphabet, reads as words, or has the form of something public
        "sk-" + "ant-api03-abc123def-456ghi789jkl-mnopqrstuvwx-3456yza789bcd-1234efghijklmn",
        "gloas-" + "waiting_for_Answers-that-are_longer-than_Sixty_four-letters_each",
        "registry.example.net/:_authToken=743b294a-cd03-11ec-9d64-0242ac120002",
        '{"kind": "api-key", "c098f218-face-40fe-dea0-0199cba": "in another field"}',
        'password_changed_at = "2025-11-03T10:22:45.123Z"',
        '"tokenAddress": "0x6B175474E89094C44Da98b954EedeAC495271d0F"',
        "host key: SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDOhTbwAXCLfGqyWxA",
        "key: uploads/2024/03/IMG_20240315_101500.jpg",
        # markup, code and other writing around a word for a key
        '<label for="password">Password</label>',
        '<a href="/ada">@{{ user.login }}</a> <div class="count">Antworten</div>',
        "Der `password`-Flow und die Response des `token`-Endpunkts",
        'heads = {key: "Mozilla/5.0"}',
        "Pass `for_json=True` where `recursive=False` is not enough.",
        "if (token?.accessToken) return",
        "login: Alek99, url: https://forge.example/Alek99",
        "if (!process.env.TEST_KEYCLOAK_USERNAME || !process.env.TEST_KEYCLOAK_PASSWORD) stop()",
        'const connection = "postgres://nextauth:nextauth@127.0.0.1:5432/nextauth"',
        "http://user:pass%20pass@example.org",
        "`allow_credentials` - オリジン間リクエストでCookieをサポートする必要があることを示します。",
        "**パスワード**フローで使用します。これには`OAuth2PasswordBearer`を使います。",
        "Token count: 128k-context-window",
        "the pass rate: 98.6pct-run12",
        "next(token: Token): Generator<Document.Parsed<Contents, Strict>, void>",
        "pairs: { key: ParseReturnType<unknown>; value: V }[]",
        r"r'OPEN|ON\s*KEY\s*=|ON\s*KEY\s*LABEL|' # the words",
        'String.Symbol: "#af5f5f", Token: "#ddd0c0"',
        "exports.X509KeyUsageExtension = exports.X509BasicConstraintsExtension = undefined",
        'private_key: PKCS7PrivateKeyTypes, "PKey", "X509Extension"',
        "issueCredential: openid4vciCredentialEndpointPolicy,",
        '"aria-attr": { "pass": "L\u2019attribut ARIA est permis" }',
        "export default the file's folder to the folder identified by depth.",
        "fixes problems identified by validate(), accepts them",
        "mongodb://host:1234/shop?authSource=admin&connectTimeoutMS=300000",
        "erlang-public-key\t1:25.2.3+dfsg-1+deb12u4",
        "amqps://guest:$password@localhost:5672",
        'createTokenAuth("ghp_PersonalAccessToken0124567890000' + '0000");',
        "https://shop.blob.example.net/c?sv=2022-11-02&sig=<signature>",
        "https://shop.blob.example.net/c?sig=" + "x" * 43 + "%3D",
        "WIFI:T:nopass;S:Guests;;",
        # what people say of passwords
        "Login to pages.example.net/Ruta22Dev first",
        "the login for pages.example.net/Login2Page fails",
        "the password is blue_kettle_92",
        "my password manager is bitwarden-2024",
        "our password policy is NIST_800_63",
        "Mein Passwort wurde auf Windows10 geändert",
        "Пароль не подходит к Windows11!",
        "the password for user#12",
        "la contraseña de C#2024! es un curso",
        "Şifrem 2024 içinde değişti",
        "logins:\nMonday\nTuesday12\n",
        "| parameter | password |\n|---|---|\n| required | optional |\n| example | your_password1 |",
        "| password | strength |\n|---|---|\n| at least 8 characters | weak |",
        "WIFI:T:WPA;S:{ssid};P:{password};;",
        "access_token$production$your_merchant_id$your_key",
        # from real chats
        "the functions `tokenURI`, `reclaimERC20Token`, `reclaimERC721`",
        "the fields `private_key`, `token_uri`, `auth_provider_x509_cert_url`",
        "Key Features\u00a0Key Features1. Expose what is sold",
        # from code, pages and manifests that nobody here wrote
        "urlpass = re.compile(r'^.*?://[^:]+:(.*?)@.*?$')",
        "https://mailto:johnnyjohn@example.net",
        "#:~:text=are%20always%20fetched%20with%20credentials%20mode%20%22same%2Dorigin%22%20by%20default",
        r"Use natural language and include key terms.\nFor example: \"Latest developments\"",
        "_patternName: aQ3kf9Zx77Lm",
        '"file:///etc/passwd",\n            "magnet:?xt=urn:btih:be08f00302bc2d1d3cfa3af02024fa647a271431"',
        r'f.write("machine example.com login user password pass\ndefault\n")',
        "kind: ConfigMap\ndata:\n  note: YWRhOmdyNG5pdGVSb2Nr\n",
        "kind: Secret\ndata:\n  token: {{ .Values.token }}\n",
        "kind: SecretProviderClass\ndata:\n  provider: abcdefghijkl\n",
        "kind: SecretStore\ndata:\n  provider: abcdefghijkl\n",
        "https://docs.example.net/webhooks/create-a-webhook-endpoint-for-your-account",
        "http://localhost:3000/docs/webhooks/create-a-webhook-endpoint-for-your-account",
        "as $1$2$3 in the pattern, for $5 or $6 a piece",
        r"'NAME': 'django.contrib.auth.password\_validation.NumericPasswordValidator'",
        # examples that say so of themselves
        "http://proxyuser:proxypass@proxy.example.net:3128",
        "<master>{YOUR_MASTER_PASSWORD}</master>",
        'PUBLIC_API_KEY="' + 'gewc9LVRMbwMBBxdp36b1V48_lM-326LX0SGZM8ZR48"',
        "secret: " + base64.b64encode(b"Wq7LmZ0xVb93KtRychangeme").decode(),
        "secret: " + base64.b64encode(b"ENC[RSA,Wq7LmZ0xVb93KtRy8n5Gs2]").decode(),
        ".".join(
            base64.b64encode(part).decode().strip("=")
            for part in (b'{"alg":"RS256"}', b'{"iss":"a.example"}')
        )
        + ".signature",
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\\nmt7wX0QyM7vNmbZovwIRLcWkRq_NFsWzR8VR_XYOQAy\\n"
            "-----END OPENSSH PRIVATE KEY-----"
        ),
        "-----BEGIN PGP PRIVATE KEY-----\n" + "0c3d576ba5a108c3" * 4 + "\n-----END PGP PRIVATE KEY-----",
        "- (id)hf_requiredCharacteristicTypesForDisplayMetadata;",
        "(key) sessionByUserIdKey = sessionByUserIdKeyPrefix + userId",
        "image: " + base64.b64encode(bytes(range(200))).decode(),
        # the end of a line, as code and JSON write it
        r'{"text": "the password is wrong.\n1. Reset it."}',
        r"the password is incorrect.\nPlease try again",
        r"for key: token.Token\ntoken.Token.String",
        r"erlang-public-key\t1:25.2.3+dfsg-1+deb12u4",
    ],
)
def test_what_only_looks_like_a_secret_is_none(text: str) -> None:
    assert not find_secrets(text)


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        ("EC PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,6f1c2d3e4a5b6c7d8e9f0a1b2c3d4e5f"),
        ("PGP PRIVATE KEY BLOCK", "Comment: 0123456789abcdef0123456789abcdef01234567"),
    ],
)
@pytest.mark.parametrize("lines", [4, 200])
def test_a_private_key_behind_headers_is_covered_to_its_end_and_nothing_behind_it(
    kind: str, headers: str, lines: int
) -> None:
    body = "mt7wX0QyM7vNmbZovwIRLcWkRqNFsWzR8VRXYOQAyhTq3Kf9Zx77LmVq8tdNkHV6\n" * lines
    key = f"-----BEGIN {kind}-----\n{headers}\n\n{body}-----END {kind}-----"
    assert redact(f"it is\n{key}\nand so on, as before") == (
        "it is\n[redacted: private-key]\nand so on, as before"
    )


@pytest.mark.parametrize("end", ["<br>", "<br/>", "<br />"])
def test_a_private_key_whose_lines_end_as_in_html_is_covered(end: str) -> None:
    body = f"mt7wX0QyM7vNmbZovwIRLcWkRqNFsWzR8VRXYOQAyhTq3Kf9Zx77LmVq8tdNkHV6{end}" * 20
    key = f"-----BEGIN PRIVATE KEY-----{end}{body}-----END PRIVATE KEY-----"
    assert redact(f"it is {key} and so on") == "it is [redacted: private-key] and so on"


def test_redacting_leaves_everything_but_the_secrets() -> None:
    key = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    text = f"İ 🌻 first {key}, then my password is Tr0ub4dor&3x9 and {key}\ud800."
    said = redact(text)
    assert key not in said
    assert "Tr0ub4dor" not in said
    assert said.startswith("İ 🌻 first [redacted: github-pat], then my password is [redacted: ")
    assert said.endswith("and [redacted: github-pat]\ud800.")


def test_an_escaped_end_of_a_line_ends_a_password_and_an_escape_within_it_does_not() -> None:
    assert redact(r"my password is Pa55\nword1!\nuser: ada") == (
        r"my password is [redacted: password in a sentence]\nuser: ada"
    )
    assert redact(r'{"text": "my password is Abc12345\nThanks"}') == (
        r'{"text": "my password is [redacted: password in a sentence]\nThanks"}'
    )


def test_a_key_behind_another_in_one_run_is_found_too() -> None:
    key = "sk-" + "proj-" + "Vq8tdNkHV6pmbCbwilTe7WDnpdEwKNm7wVBqYM0o"
    text = f"a{key} {key},{key}"
    assert [text[one.start : one.end] for one in find_secrets(text)][-2:] == [key, key]


def test_letters_that_are_not_seen_or_look_alike_hide_no_secret() -> None:
    key = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    assert redact(f"it is \u200b{key[:9]}\u200b\u00ad{key[9:]}\u200b, yes") == (
        "it is \u200b[redacted: github-pat]\u200b, yes"
    )
    name = "".join(chr(ord(letter) + 0xFEE0) for letter in "password:")  # as a Japanese keyboard writes it
    assert redact(f"{name} Tr0ub4dor&3x9").startswith(f"{name} [redacted: ")


@pytest.mark.parametrize("name", ["session_id", "user_id", "source", "agent_version", "request_id"])
def test_a_key_in_an_id_or_a_name_is_found(name: str) -> None:
    key = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    named = {"request_id": "r1", "session_id": "s1"} | {name: f"app-{key}"}
    item = RequestWithInteractions(request=StoredRequest.model_validate(named))
    assert secret_in(item) == ("github-pat in an id or a name", True)


@pytest.mark.parametrize(
    "text",
    [
        "api_key = a1B2c3D4e5F6g7H8i9J0k1L2",  # as examples are made
        "use ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
        "access_token = 9308f78b-8315-a8a6-9c9c-a4b41488508f",  # there is no version 10
        "access_token = 9308f78b-8315-48a6-3c9c-a4b41488508f",  # nor such a variant
        "api_key = 6c4f1de0a93b75e28fd0416c5b7a9e32",  # a checksum may be
        "DEEPGRAM_API_KEY=8b6f8d6594749cb659b1be03e6a0a2e51f7c34d",  # lacks one of 40
        "{deepgramApiKey: '8b6f8d6594749cb659b1be03e6a0a2e51f7c34d'}",
        "clickup token: pk_2042497_138RCYNYCVO0GRJ8INODHFRMXN0QSV75",
        "TWILIO_AUTH_TOKEN=6c4f1de0a93b75e28fd0416c5b7a9e32",  # Kingfisher knows other keys of these vendors
        "SLACK_SIGNING_SECRET=6c4f1de0a93b75e28fd0416c5b7a9e32",
        "GITHUB_CLIENT_SECRET=6c4f1de0a93b75e28fd0416c5b7a9e3251f7c34d",
        "my twilio auth token is 6c4f1de0a93b75e28fd0416c5b7a9e32",
    ],
)
def test_what_is_less_sure_is_covered_as_a_secret_and_counted_as_a_possible_one(text: str) -> None:
    (found,) = find_secrets(text)
    assert not is_probable(text, found)
    assert text[found.start : found.end] not in redact(text)
    assert secret_in(talked(("User", text))) == (found.kind, False)
    assert secret_in(talked(("User", text), ("User", "my password is Tr0ub4dor&3x9"))) == (
        "password in a sentence",
        True,
    )


@pytest.mark.parametrize(
    "text",
    [
        "api_key = k7T2mQ9xWp4sLe8ZvR1n",
        "access_token = 9308f78b-8315-48a6-9c9c-a4b41488508f",
        "sign with key-" + "6c4f1de0a93b75e28fd0416c5b7a9e32",  # as Mailgun's are
        "DEEPGRAM_API_KEY=8b6f8d6594749cb659b1be03e6a0a2e51f7c34d0",
        "DEEPGRAM_PASSWORD=k7T2mQ9xWp4sLe8ZvR1n",  # only of keys the form is known
        "my_stripes_key = k7T2mQ9xWp4sLe8ZvR1n",  # another word
        "generic_api_key = k7T2mQ9xWp4sLe8ZvR1n",
        "redirect_signing_secret=k7T2mQ9xWp4sLe8ZvR1n",  # words that are vendors' names as well
        "checkout_secret_key: k7T2mQ9xWp4sLe8ZvR1n",
        "our api key for the square is k7T2mQ9xWp4sLe8ZvR1n",
        "the access token of the render service is k7T2mQ9xWp4sLe8ZvR1n",
        "the api key that we defined in the wiki is k7T2mQ9xWp4sLe8ZvR1n",
        "my datadog api key is 6c4f1de0a93b75e28fd0416c5b7a9e32",  # as surely as DATADOG_API_KEY=
        "the api key for deepgram is 8b6f8d6594749cb659b1be03e6a0a2e51f7c34d0",
        "deepgram, and then api_key = k7T2mQ9xWp4sLe8ZvR1n",
        "k7T2mQ9xWp4sLe8ZvR1n" * 4 + ": my password is Tr0ub4dor&3x9",
    ],
)
def test_what_has_the_look_of_a_secret_in_all_respects_is_a_probable_one(text: str) -> None:
    assert is_probable(text, find_secrets(text)[-1])


def test_another_key_before_it_makes_none_that_could_be_a_checksum_more_sure() -> None:
    before = "ghp_" + "k7T2mQ9xWp4sLe8ZvR1nB3yHc6DfGj5KaXu0"
    text = f"{before} and my twilio auth token is 6c4f1de0a93b75e28fd0416c5b7a9e32"
    assert [is_probable(text, one) for one in find_secrets(text)] == [True, False]


def test_without_the_formats_of_vendors_no_key_lacks_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "available", lambda: False)
    text = "DEEPGRAM_API_KEY=8b6f8d6594749cb659b1be03e6a0a2e51f7c34d"
    assert is_probable(text, find_secrets(text)[0])


def test_ids_that_programs_make_are_no_keys() -> None:
    for made in (
        "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "01HGW2BBG5BV1VKJ6NQ3Z3Z9Q1",
        "auth0|5f7c8ec7c33c6c004bbafe82",
    ):
        named = {
            "request_id": made,
            "session_id": f"session_{made}",
            "user_id": made,
            "source": f"pod-{made}",
        }
        assert not secret_in(RequestWithInteractions(request=StoredRequest.model_validate(named)))[0]


def test_what_stands_before_a_key_is_no_part_of_it() -> None:
    assert (
        redact("bot 110201543:" + "AAHdqTcvCH1vGWJxfSe1ofSAs0K5PALDsaw")
        == "bot [redacted: Telegram bot token]"
    )


def test_a_text_without_secrets_is_given_back_as_it_is() -> None:
    text = "The tomatoes need water 2 times a day; see https://example.org/garden-plan-2024/overview."
    assert redact(text) == text


def test_places_do_not_overlap_and_are_in_order() -> None:
    places = find_secrets(
        "password=ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8 --password hT7kQ2mZ9xWp4sLe"
    )
    assert len(places) == 2
    assert places[0].end <= places[1].start


def test_without_the_formats_of_vendors_the_rest_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "available", lambda: False)
    assert find_secrets("my password is Tr0ub4dor&3x9")


def test_what_holds_no_key_does_not_load_the_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> object:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(secrets, "_scanner", load)
    assert not find_secrets("The tomatoes need water 2 times a day, says my neighbour.")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("turn", "at_once"),
    [
        ({"content": "Please remember that I prefer short answers."}, True),
        ({"content": "My password is Tr0ub4dor&3x9"}, True),
        ({"content": "word " * 1_000}, False),
        ({"content": "my key: sk_live_4eC39HqLyjWDarjtT1zdp7dc"}, False),
        ({"content": "my key: abcdefghijklmnop\uff11\uff12"}, False),
        ({"content": "short", "expert_content": "-----BEGIN RSA PRIVATE KEY-----"}, False),
        ({"interacted_image_url": "https://example.com/0123456789abcdef0123456789abcdef"}, False),
        ({"content": "short", "tools_used": [{"tool_name": "search", "tool_data": {"q": "cats"}}]}, True),
        ({"content": "short", "tools_used": [{"tool_name": "x", "tool_data": {"q": "cat " * 1_000}}]}, False),
        ({"content": "short", "image_encoding": "aGVsbG8="}, False),
    ],
)
async def test_other_calls_go_on_while_something_long_is_looked_through(
    turn: dict[str, Any], at_once: bool
) -> None:
    where = await looked([Interaction.model_validate(turn)], threading.get_ident)
    assert (where == threading.get_ident()) == at_once
    if at_once:
        where = await looked(
            [Interaction.model_validate(turn)], threading.get_ident, ["sk_live_4eC39HqLyjWD1"]
        )
        assert where != threading.get_ident()


def test_a_password_in_the_address_of_an_image_and_a_key_as_a_name_in_a_tools_data_are_found() -> None:
    image = StoredInteraction(
        interaction_id=1, interacted_image_url="https://ada:Mn83kkPq@cdn.example.net/x.png"
    )
    data = {"tool_name": "revoke", "tool_data": {"ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8": True}}
    tool = StoredInteraction(interaction_id=2, tools_used=[data])
    for turn, kind in ((image, "password in a URL"), (tool, "github-pat")):
        item = RequestWithInteractions(request=StoredRequest(request_id="r1"), interactions=[turn])
        assert secret_in(item)[0] == kind


def test_a_passphrase_is_not_shown_where_its_name_holds_what_nobody_sees() -> None:
    shown = redact_opening("my pass\u200bword is correct horse battery staple\nand I like tea")
    assert "horse" not in shown
    assert shown.endswith("\nand I like tea")


def talked(*said: tuple[str, str]) -> RequestWithInteractions:
    turns = [
        StoredInteraction(interaction_id=index, role=role, content=text)
        for index, (role, text) in enumerate(said)
    ]
    return RequestWithInteractions(request=StoredRequest(request_id="r"), interactions=turns)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is your password for the portal?", "Herbst#2031x"),
        ("Please tell me your PIN", "7702"),
        ("I can do that. Enter your banking PIN:", " 4418 "),
        ("Wie lautet Ihr WLAN-Passwort?", "Kirsche!88"),
        ("Quel est votre mot de passe ?", "Lilas#2027"),
        ("您的密码是什么?", "Panda!62x"),
        ("When you are ready, can you give me your password?", "Herbst#2031x"),
        ("Where it asks you to, enter your PIN:", "4418"),
        ("Welches ist Ihr Passwort?", "Kirsche!88"),
        ("Have you got your password at hand?", "Herbst#2031x"),
        ("Could you tell me the password I asked for?", "Herbst#2031x"),
        ("When you log in what is your password?", "Herbst#2031x"),
        ("Which account is it and what is your password?", "Herbst#2031x"),
        ("Who is this and what's your password?", "Herbst#2031x"),
        ("How do you spell your password?", "Herbst#2031x"),
        ("Why don't you just give me your password?", "Herbst#2031x"),
        ("Has IT told you what your password is?", "Herbst#2031x"),
        ("Qui est-ce et quel est votre mot de passe ?", "Lilas#2027"),
    ],
)
def test_what_an_assistant_asks_for_and_a_person_answers_is_a_secret(question: str, answer: str) -> None:
    item = talked(("Assistant", question), ("User", answer))
    assert secret_in(item)[0]
    asked, told = item.interactions
    assert asked_for(item.interactions)[0] == ""
    assert redact_turn(told, asked=asked_for(item.interactions)[1]).content.strip().startswith("[redacted: ")
    assert redact_turn(asked).content == question
    assert not secret_in(talked(("User", question), ("User", answer)))[0]
    assert not secret_in(talked(("Assistant", question), ("Assistant", answer)))[0]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Which is your password manager?", "Bitwarden2024!"),
        ("Your password was changed. Which city do you live in?", "Vilnius#2031x"),
        ("What is your PIN code for the parcel?", "56000"),
        ("Never tell anybody your password. Which train do you take?", "IC2031!"),
        ("Have you forgotten your password?", "yes!"),
        ("Do you know your PIN?", "nope"),
        ("What is your password for the portal?", "I will tell you on Friday the 13th of May 2031."),
        ("I cannot see your password.", "Thanks4that!"),
        ("Where do you store your password?", "KeePassXC2"),
        ("OK, and where do you store your password?", "KeePassXC2"),
        ("Which site is your password for?", "amazon.de/account1"),
        ("What is your password for?", "amazon.de/account1"),
        ("Where did the mail about your password come from?", "noreply@x1.com"),
        ("When did you last change your password?", "2026-11-27T10:00"),
        ("Wo speichern Sie Ihr Passwort?", "KeePassXC2"),
        ("Wie oft ändern Sie Ihr Passwort?", "365x/Jahr"),
        ("Où gardez-vous votre mot de passe ?", "KeePassXC2"),
        ("¿Dónde guarda su contraseña?", "KeePassXC2"),
        ("您的密码保存在哪里?", "KeePassXC2"),
    ],
)
def test_what_answers_another_question_is_none(question: str, answer: str) -> None:
    assert not secret_in(talked(("Assistant", question), ("User", answer)))[0]
