"""The words of a told secret, in the languages people write to assistants in."""

from typing import Final

__all__ = ["CODES", "IS", "PASSWORDS"]

# Words for a password | words for a code of digits | words between them and the secret. `-`: a blank, a hyphen, nothing.
WORDS: Final = """
    password passphrase pass-code passwd pwd pass-word pass-phrase wifi-key | pin pass-code door-code gate-code alarm-code access-code entry-code security-code unlock-code lock-code garage-code keypad-code lockbox-code safe-code lock-combination safe-combination | is was are to to-be is-now should-be will-be
    passwort kennwort zugangsdaten wlan-schlüssel | tür-code alarm-code zugangs-code geheimzahl tresor-code | ist lautet war sind heißt auf
    mot-de-passe mots-de-passe mdp | digicode code-pin code-secret code-d'accès code-de-la-porte code-de-l'alarme code-du-portail | est c'est était
    contraseña contrasena clave | código-de-la-puerta código-de-acceso código-de-la-alarma código-de-seguridad | es era son será
    senha palavra-passe | código-da-porta código-do-portão código-de-acesso código-do-alarme | é era será
    parola-d'ordine parola-chiave | codice-del-portone codice-della-porta codice-di-accesso codice-dell'allarme | è era sarà
    wachtwoord | pincode deur-code toegangs-code | is was wordt
    hasło hasła haslo hasłem | kod-do-drzwi kod-do-bramy kod-do-domofonu kod-pin kod-dostępu kod-alarmu | to jest brzmi
    heslo hesla heslem | kód-ke-dveřím kód-od-dveří kód-do-dverí kód-k-alarmu | je bylo zní
    lösenord adgangskode passord kodeord | port-koden portkod dörr-koden dør-kode dør-koden pinkode pin-koden | är er var
    salasana parool | ovikoodi pin-koodi uksekood | on oli
    jelszó jelszava parola parolă | kapukód pin-kód codul-pin codul-ușii | az este
    şifre şifrem şifresi parola | kapı-kodu pin-kodu | olan ise
    κωδικός κωδικό συνθηματικό | κωδικός-πόρτας | είναι
    пароль пароля паролем | пин-код пин пін-код код-от-двери код-домофона код-від-дверей | является это є
    slaptažodis slaptažodžio parole | durų-kodas pin-kodas durvju-kods | yra ir
    סיסמה סיסמא كلمة-المرور كلمة-السر كلمة-سر رمز-عبور | קוד-הדלת رمز-الباب | היא هي هو است
    पासवर्ड পাসওয়ার্ড รหัสผ่าน mật-khẩu kata-sandi | mã-pin kode-pintu | है হল คือ là adalah
    パスワード | 暗証番号 暗証コード | は が
    密码 密碼 口令 | 门锁密码 门禁密码 门禁码 取款密码 | 是 為 为
    비밀번호 패스워드 암호 | 출입문-비밀번호 현관-비밀번호 | 은 는 이
"""
_ROWS = [row.split("|") for row in WORDS.strip().splitlines()]
PASSWORDS, CODES, IS = (
    frozenset(word for row in _ROWS for word in row[column].split()) for column in range(3)
)
