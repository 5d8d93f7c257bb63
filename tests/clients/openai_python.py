#!/usr/bin/env python3
"""Runs OpenAI's own Python client over every route and field of a quern server.

    pip install openai
    quern serve demo --port 0 --ready-file /tmp/ready &
    tests/clients/openai_python.py $(cat /tmp/ready)

Every field is honoured or refused by name, none is ignored; what is streamed equals what is not.
Exit status 0 if all holds, 1 with a line for each check that does not.
"""

import json
import sys
import urllib.request

import openai

MESSAGES = [{"role": "user", "content": "Tell me a story about a fox."}]
failures = []
count = 0


def check(what, holds, detail=""):
    global count
    count += 1
    if not holds:
        failures.append(f"{what}: {detail}")
        print(f"FAILED {what}: {detail}")


def refused(what, param, call):
    """The call must end in a 400 that names the field."""
    try:
        call()
    except openai.BadRequestError as error:
        check(what, error.param == param, f"param {error.param!r}, wanted {param!r}: {error}")
    except openai.APIError as error:
        check(what, False, repr(error))
    else:
        check(what, False, "it was answered")


def main():
    url = sys.argv[1]
    client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
    model = client.models.list().data[0].id
    check("models.retrieve", client.models.retrieve(model).id == model)
    chat = client.chat.completions.create
    text = client.completions.create
    base = dict(model=model, messages=MESSAGES, max_tokens=24, seed=3)
    plain = dict(model=model, prompt="Once upon a time", max_tokens=24, seed=3)

    # Streamed equals whole.
    for extra in ({}, {"temperature": 0}, {"stop": ["."]}, {"n": 3}, {"top_p": 0.5},
                  {"logprobs": True, "top_logprobs": 3}, {"max_completion_tokens": 9},
                  {"presence_penalty": 1.5}, {"frequency_penalty": -1.0}, {"temperature": 1.7}):
        arguments = {**base, **extra}
        if "max_completion_tokens" in extra:
            arguments.pop("max_tokens")
        whole = chat(**arguments)
        pieces, reasons, usage, logprobs = {}, {}, None, {}
        for chunk in chat(**arguments, stream=True, stream_options={"include_usage": True}):
            if chunk.usage:
                usage = chunk.usage
                check(f"{extra} usage chunk has no choices", not chunk.choices)
            for choice in chunk.choices:
                pieces[choice.index] = pieces.get(choice.index, "") + (choice.delta.content or "")
                if choice.logprobs:
                    logprobs.setdefault(choice.index, []).extend(choice.logprobs.content)
                if choice.finish_reason:
                    check(f"{extra} one finish", choice.index not in reasons)
                    reasons[choice.index] = choice.finish_reason
        for choice in whole.choices:
            check(f"chat {extra} text", pieces[choice.index] == choice.message.content,
                  f"{pieces[choice.index]!r} {choice.message.content!r}")
            check(f"chat {extra} reason", reasons[choice.index] == choice.finish_reason)
            if choice.logprobs:
                check(f"chat {extra} logprobs", logprobs[choice.index] == choice.logprobs.content)
                top = choice.logprobs.content[0].top_logprobs
                check(f"chat {extra} top", len(top) == 3 and
                      all(a.logprob >= b.logprob for a, b in zip(top, top[1:])), str(top))
        check(f"chat {extra} usage", usage.completion_tokens == whole.usage.completion_tokens and
              usage.prompt_tokens == whole.usage.prompt_tokens, f"{usage} {whole.usage}")
        check(f"chat {extra} choices", len(whole.choices) == extra.get("n", 1))

    for extra in ({}, {"temperature": 0}, {"echo": True}, {"logprobs": 2}, {"n": 2},
                  {"stop": " the"}):
        whole = text(**plain, **extra)
        pieces = {}
        for chunk in text(**plain, **extra, stream=True):
            for choice in chunk.choices:
                pieces[choice.index] = pieces.get(choice.index, "") + choice.text
        for choice in whole.choices:
            check(f"completion {extra}", pieces[choice.index] == choice.text,
                  f"{pieces[choice.index]!r} {choice.text!r}")

    # Each field does what it says.
    check("seed repeats", text(**plain).choices[0].text == text(**plain).choices[0].text)
    check("seed changes", text(**{**plain, "seed": 4}).choices[0].text !=
          text(**plain).choices[0].text)
    check("max_tokens", chat(**base).usage.completion_tokens <= 24)
    check("stop", "." not in (chat(**base, stop=["."]).choices[0].message.content or ""))
    biased = text(**plain, logit_bias={"300": 100}, temperature=0,
                  extra_body={"return_token_ids": True})
    check("logit_bias", set(biased.choices[0].token_ids) == {300}, str(biased.choices[0]))
    check("echo", text(**plain, echo=True).choices[0].text.startswith("Once upon a time"))
    scored = text(**{**plain, "max_tokens": 0}, echo=True, logprobs=1).choices[0]
    check("scoring", scored.logprobs.token_logprobs[0] is None and
          all(x < 0 for x in scored.logprobs.token_logprobs[1:]), str(scored))
    check("several prompts", len(text(**{**plain, "prompt": ["a", "b", "c"]}).choices) == 3)
    check("ids as prompt", text(**{**plain, "prompt": [5, 6, 7]}).usage.prompt_tokens == 3)
    check("several prompts of ids",
          len(text(**{**plain, "prompt": [[5, 6], [7]]}).choices) == 2)
    allowed = text(**plain, extra_body={"allowed_token_ids": [300, 301], "return_token_ids": True})
    check("allowed_token_ids", set(allowed.choices[0].token_ids) <= {300, 301},
          str(allowed.choices[0]))
    greedy = {**plain, "temperature": 0}
    word = text(**greedy).choices[0].text.split()[1]
    check("bad_words", word not in text(**greedy, extra_body={"bad_words": [word]})
          .choices[0].text.split(), word)
    extras = {"top_k": 1}
    check("top_k 1 is greedy", text(**plain, extra_body=extras).choices[0].text ==
          text(**plain, temperature=0).choices[0].text)
    for extras in ({"min_p": 1.0}, {"typical_p": 0.9}, {"repetition_penalty": 1.3},
                   {"min_tokens": 20}, {"ignore_eos": True}, {"stop_token_ids": [5]},
                   {"include_stop_str_in_output": True}, {"skip_special_tokens": False},
                   {"prompt_logprobs": 1}, {"return_token_ids": True}, {"priority": -1},
                   {"cache_salt": "s"}, {"cache_prompt": False}, {"truncate_prompt_tokens": 2},
                   {"request_id": "r"}, {"add_special_tokens": False}):
        check(f"taken {extras}", text(**plain, extra_body=extras).choices)
    for extras in ({"chat_template_kwargs": {}}, {"add_generation_prompt": False}):
        check(f"taken {extras}", chat(**base, extra_body=extras).choices)
    check("request_id", text(**plain, extra_body={"request_id": "mine"}).id == "cmpl-mine")
    check("continue_final_message", chat(
        **{**base, "messages": MESSAGES + [{"role": "assistant", "content": "Once"}]},
        extra_body={"continue_final_message": True}).choices)
    # Without effect by their definition.
    for extras in ({"user": "u"}, {"metadata": {"a": "b"}}, {"store": False},
                   {"service_tier": "auto"}, {"safety_identifier": "s"},
                   {"prompt_cache_key": "k"}, {"parallel_tool_calls": True},
                   {"prediction": {"type": "content", "content": "x"}},
                   {"modalities": ["text"]}, {"verbosity": "low"},
                   {"response_format": {"type": "text"}}, {"tool_choice": "none"}):
        check(f"without effect {extras}", chat(**base, **extras).choices[0].message.content ==
              chat(**base).choices[0].message.content)

    # Refused by name.
    schema = json.load(urllib.request.urlopen(url + "/openapi.json"))
    for path, call, arguments in (("/v1/chat/completions", chat, base),
                                  ("/v1/completions", text, plain)):
        fields = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"][
            "schema"]["properties"]
        for name, field in fields.items():
            if field["x-status"] == "refused":
                refused(f"refused {path} {name}", name,
                        lambda: call(**arguments, extra_body={name: "x"}))
            # And a value of a type that no field has.
            elif name not in ("model", "messages", "prompt"):
                refused(f"wrong type {path} {name}", name,
                        lambda: call(**arguments, extra_body={name: [[[]]]}))
        refused(f"unknown {path}", "colour", lambda: call(**arguments, extra_body={"colour": 1}))
    refused("tools", "tools", lambda: chat(**base, tools=[{"type": "function",
                                                           "function": {"name": "f"}}]))
    refused("response_format", "response_format",
            lambda: chat(**base, response_format={"type": "json_object"}))
    refused("too long", "prompt", lambda: text(**{**plain, "prompt": "word " * 100_000}))
    try:
        chat(**{**base, "model": "other"})
        check("wrong model", False, "it was answered")
    except openai.NotFoundError as error:
        check("wrong model", error.code == "model_not_found", repr(error))

    print(f"{count - len(failures)} of {count} checks hold")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
