"""The words that stand before a secret, in the languages people write to assistants in."""

from typing import Final

__all__ = ["CODES", "IS", "PASSWORDS"]

PASSWORDS: Final = {
    "English": "password passphrase passcode passwd pwd pw pass-word pass-phrase creds credentials",
    "German": "passwort kennwort zugangsdaten wlan-schlüssel",
    "French": "mot-de-passe mdp",
    "Spanish": "contraseña contrasena clave",
    "Portuguese": "senha palavra-passe",
    "Italian": "parola-d'ordine parola-chiave",
    "Dutch": "wachtwoord",
    "Polish": "hasło hasła haslo",
    "Czech": "heslo hesla",
    "Swedish, Danish, Norwegian": "lösenord adgangskode passord kodeord",
    "Finnish": "salasana",
    "Turkish": "şifre şifrem parola",
    "Russian": "пароль пароля",
    "Lithuanian": "slaptažodis slaptažodžio",
    "Japanese": "パスワード",
    "Chinese": "密码 密碼 口令",
    "Korean": "비밀번호",
    "Vietnamese": "mật-khẩu",
    "Hindi": "पासवर्ड",
    "Arabic": "كلمة-المرور كلمة-السر",
}
"""Words for a password; `-` stands for a blank, a hyphen or nothing."""

CODES: Final = {
    "English": "pin passcode pass-code door-code gate-code alarm-code access-code entry-code security-code safe-combination lock-combination",
    "German": "pin türcode tür-code alarmcode zugangscode",
    "French": "digicode code-pin code-de-la-porte",
    "Spanish": "código-de-la-puerta",
    "Russian": "пин-код пин",
    "Chinese": "门锁密码",
    "Japanese": "暗証番号",
}
"""Words for a code of digits."""

IS: Final = (
    "is",
    "was",
    "to be",
    "to",
    "are",
    "is now",
    "ist",
    "lautet",
    "war",
    "est",
    "era",
    "es",
    "è",
    "é",
    "jest",
    "är",
    "er",
    "yra",
    "on",
    "olan",
    "является",
    "это",
    "是",
    "は",
    "為",
    "为",
    "은",
    "는",
    "है",
    "هي",
    "là",
)
"""Words between the two."""
