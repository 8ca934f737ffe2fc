"""The words of calls to Reflexio that failed."""

from collections.abc import Mapping
from typing import Final

from reflexio_mcp.render.topic_words import TopicWords
from reflexio_mcp.results.facts import FactCode

_ADVICE: Final[Mapping[FactCode, str]] = {
    FactCode.TRY_AGAIN: "Try again.",
    FactCode.TRY_LATER: "Try again later.",
    FactCode.TRY_IN_SECONDS: "Try again in {number:second}.",
    FactCode.CORRECT_ARGUMENTS: "Correct the arguments and try again.",
    FactCode.CORRECT_SETTINGS: "Correct REFLEXIO_URL, REFLEXIO_API_KEY or the proxy, and start again.",
    FactCode.CHECK_SERVER: "Check that Reflexio runs and that REFLEXIO_URL is right, then try again.",
    FactCode.CHECK_ADDRESS: "Check that REFLEXIO_URL is the API's address, without a page's path.",
    FactCode.CHECK_KEY: "Check REFLEXIO_API_KEY, and that it belongs to REFLEXIO_URL.",
    FactCode.CHECK_ID: "Check the id.",
    FactCode.CHOOSE_ID: "Choose another id, or leave it out.",
    FactCode.SPLIT_REQUEST: "Split it into several requests, or send images by URL.",
    FactCode.ASK_FOR_LESS: "Use a narrower filter or a smaller limit.",
    FactCode.READ_SERVER_LOG: "Try again later, or look at Reflexio's log.",
    FactCode.CHECK_STORE: "Try again later, or check the embedded store's file and its disk.",
}
"""What to do about a failure, for a model and a shell."""

FAILURES: Final = TopicWords(
    anybody={
        FactCode.UNEXPECTED: "Something went wrong inside reflexio-mcp; the server's log says more.",
        FactCode.CALL_TOO_LONG: "The call took too long and was ended.",
        # Why a call failed, and what to do about it. `{names:known}`: what is known of it, in brackets (`words.py`).
        FactCode.NOT_SENT: "The call was not sent to Reflexio{names:known}.",
        FactCode.BAD_ADDRESS: "The connection to Reflexio is not set up right{names:known}.",
        FactCode.TOO_LARGE: "The request is too large for Reflexio{names:known}.",
        FactCode.CLOSED: "The connection to Reflexio is closed here.",
        FactCode.UNREACHABLE: "Reflexio could not be reached{names:known}.",
        FactCode.NO_ANSWER: "Reflexio's answer did not arrive{names:known}.",
        FactCode.TIMED_OUT: "Reflexio did not answer in time{names:known}.",
        FactCode.CONNECTION_LOST: "The connection to Reflexio broke before its answer was complete{names:known}.",
        FactCode.ANSWER_TOO_LARGE: "Reflexio's answer is too large to read{names:known}.",
        FactCode.NOT_THE_API: "The answer is not from the Reflexio API{names:known}.",
        FactCode.REFUSED: "Reflexio refused the call{names:known}.",
        FactCode.ARGUMENTS_REFUSED: "Reflexio does not accept the arguments{names:known}.",
        FactCode.ACCESS_REFUSED: "Reflexio refused access{names:known}.",
        FactCode.UNKNOWN_ID: "Reflexio does not know this id{names:known}.",
        FactCode.ID_TAKEN: "This id is taken{names:known}.",
        FactCode.RATE_LIMITED: "Reflexio's rate limit is reached{names:known}.",
        FactCode.OPERATION_FAILED: "Reflexio reported that the operation failed{names:known}.",
        FactCode.SERVER_FAULT: "Reflexio had an internal error{names:known}.",
        FactCode.CALL_FAILED: "The call to Reflexio failed{names:known}.",
        FactCode.SERVICE_SAID: "Reflexio said: {names}.",
        FactCode.NOTHING_CHANGED: "Nothing was changed.",
        FactCode.EFFECT_UNKNOWN: (
            "Whether this took effect is not known. Look at what is stored before you repeat it."
        ),
        # A person at a form or a receipt can do none of this.
        FactCode.TRY_AGAIN: "",
        FactCode.TRY_LATER: "",
        FactCode.TRY_IN_SECONDS: "",
        FactCode.CORRECT_ARGUMENTS: "",
        FactCode.CORRECT_SETTINGS: "",
        FactCode.CHECK_SERVER: "",
        FactCode.CHECK_ADDRESS: "",
        FactCode.CHECK_KEY: "",
        FactCode.CHECK_ID: "",
        FactCode.CHOOSE_ID: "",
        FactCode.SPLIT_REQUEST: "",
        FactCode.ASK_FOR_LESS: "",
        FactCode.READ_SERVER_LOG: "",
        FactCode.CHECK_STORE: "",
    },
    model={
        **_ADVICE,
        FactCode.ID_TAKEN: "This request_id is taken.",
        FactCode.CHOOSE_ID: "Choose another request_id, or leave it out.",
        FactCode.SERVICE_SAID: "",  # the model reads it inside the fence
    },
    in_shell=_ADVICE,
)
