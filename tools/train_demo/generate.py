"""Writes the training text of the demo model: one JSON string per line, raw stories and chats.

    python generate.py --documents 150000 --seed 1 --out stories.jsonl
    python generate.py --show 5            # look at a few

Every story is a plan: a hero, a friend, a place, a plot skeleton from plots.py whose optional
events, order and wording are drawn anew, so two stories of one skeleton differ in most sentences.
"""

import argparse
import json
import random
import re

import plots
import words
from plots import PAR

EOT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

SPEECH = r"(?:said|asked|cried|called|shouted|whispered|laughed|thought|sang)\b"
INNER = re.compile(r"\[([^\[\]]*)\]")
KEY = re.compile(r"\{(\w+)\}")
AN = re.compile(r"\b([Aa]) (?=[aeiouAEIOU](?!nicorn|niform|ne\b|seful|kulele))")


def noun_of(word):
    return word.replace("_", " ")


def a(phrase):
    return AN.sub(lambda m: m[1] + "n ", "a " + phrase)


def made_up_noun(rng):
    """A word nobody has seen: it teaches the model to copy the noun of the request."""
    part = lambda: rng.choice("b bl br c ch cr d dr f fl g gl gr h j k l m n p pl qu r s sh sn sp "
                              "t tr v w wh z".split()) + rng.choice("a e i o u ee oo ai ou".split())
    tail = rng.choice("b d ff g k l m n p r t x ck mp nd rt st".split() + [""])
    return "".join(part() for _ in range(rng.choice((1, 2, 2, 3)))) + tail


class Someone:
    """Hero or friend: noun, adjective, perhaps a name, and the words that stand for them."""

    def __init__(self, rng, noun, adjective, name=None, sex=None):
        self.rng, self.noun, self.adjective = rng, noun, adjective
        self.sex = sex or rng.choice(("he", "she"))
        self.name = name
        self.he, self.him, self.his, self.himself = {
            "he": ("he", "him", "his", "himself"), "she": ("she", "her", "her", "herself"),
            "it": ("it", "it", "its", "itself")}[self.sex]
        self.named_share = rng.choice((0.55, 0.7, 0.85))

    def phrase(self):
        return f"{self.adjective} {self.noun}".strip()

    def new(self):
        text = a(self.phrase())
        if not self.name:
            return text
        return f"{text} {self.rng.choice(('named', 'named', 'called'))} {self.name}"

    def bare(self):
        return f"{self.name} the {self.noun}" if self.name else f"the {self.noun}"

    def ref(self):
        if self.name and self.rng.random() < self.named_share:
            return self.name
        if self.adjective and self.rng.random() < 0.3:
            return f"the {self.phrase()}"
        return f"the {self.noun}"


def any_noun(rng):
    kind = rng.random()
    if kind < 0.44:
        return noun_of(rng.choice(words.ANIMALS))
    if kind < 0.60:
        return noun_of(rng.choice(words.PEOPLE))
    if kind < 0.68:
        return rng.choice(words.VEHICLES)
    if kind < 0.90:
        return noun_of(rng.choice(words.OBJECTS))
    return made_up_noun(rng)


def named(rng, sex):
    return rng.choice(words.HE if sex == "he" else words.SHE)


class Story:
    """Draws the plan on construction; `text()` tells it, `request()` asks for it."""

    def __init__(self, rng, length=None):
        self.rng = rng
        pick = rng.choice
        self.length = length or pick(("short", "medium", "medium", "long"))
        self.plot_name = pick(list(plots.PLOTS))
        self.plot = plots.PLOTS[self.plot_name]

        sex = pick(("he", "she"))
        noun = any_noun(rng)
        person = noun in words.PEOPLE
        adjective = pick(words.PLAIN) if rng.random() < 0.45 else pick(words.ADJECTIVES)
        if rng.random() < 0.15:
            adjective = ""
        if person or noun in ("hen", "cow", "goose", "duck"):
            sex = {"girl": "she", "queen": "she", "princess": "she", "witch": "she", "mermaid": "she",
                   "grandmother": "she", "hen": "she", "cow": "she", "boy": "he", "king": "he",
                   "prince": "he", "grandfather": "he", "wizard": "he"}.get(noun, sex)
        name = named(rng, sex) if rng.random() < 0.62 else None
        if not name and not person and rng.random() < 0.35:
            sex = "it"
        self.hero = Someone(rng, noun, adjective, name, sex)

        other = {"he": "she", "she": "he"}.get(sex, "he") if rng.random() < 0.75 else pick(("he", "she"))
        friend_noun = noun
        while friend_noun == noun:
            draw = rng.random()
            friend_noun = noun_of(pick(words.ANIMALS) if draw < 0.78 else pick(words.PEOPLE)
                                  if draw < 0.93 else any_noun(rng))
        friend_name = named(rng, other) if rng.random() < 0.4 else None
        if friend_name == name:
            friend_name = None
        self.friend = Someone(rng, friend_noun, pick(words.HELPER_ADJECTIVES)
                              if rng.random() < 0.7 else "", friend_name, other)

        self.facts = self.draw_facts()

    def draw_facts(self):
        rng, pick = self.rng, self.rng.choice
        h, f = self.hero, self.friend
        prep, place = pick(words.PLACES)
        thing = noun_of(pick(words.THINGS))
        others = []
        while len(others) < 2:
            noun = noun_of(pick(words.ANIMALS if rng.random() < 0.75 else words.PEOPLE))
            if noun not in (h.noun, f.noun, *others):
                others.append(noun)
        facts = dict(P=place, in_P=f"{prep} {place}", o=thing,
                     O=f"{pick(words.THING_ADJECTIVES)} {thing}" if rng.random() < 0.6 and " " not in thing
                     else thing,
                     he=h.he, him=h.him, his=h.his, himself=h.himself, fhe=f.he, fhim=f.him,
                     fhis=f.his, hname=h.name or f"the {h.noun}", they="they",
                     f_new_plain=a(f.phrase()), small=h.adjective if h.adjective in words.PLAIN else "small",
                     shiny=pick(("shiny", "strange", "bright")))
        for i, noun in enumerate(others, 1):
            facts[f"some_{i}_the"] = f"the {noun}"
            facts[f"some_{i}_his"] = pick(("his", "her"))
            facts[f"some_{i}_first"] = f"the {pick(('old', 'big', 'young', 'fat', 'proud', ''))} {noun}".replace("  ", " ")
        facts["food"], facts["food2"] = rng.sample(words.FOODS, 2)
        facts["hide"], facts["hide_why"] = pick(words.HIDING)
        (facts["obstacle"], ways), (facts["obstacle2"], ways2) = rng.sample(words.OBSTACLES, 2)
        facts["obstacle_bare"] = facts["obstacle"]
        alone = lambda s: s.replace("{They}", pick(("{H}", "{he}"))).replace("{they}", "{he}") \
            .replace("{them}", "{him}").replace("{their}", "{his}")
        facts["pass"] = pick(ways).replace("{them}", "them").replace("{their}", "their")
        facts["pass_alone"], facts["pass_alone2"] = alone(pick(ways)), alone(pick(ways2))
        trap, fails, works = pick(words.TRAPS)
        facts.update(trap=trap, trap_fail=pick(fails), trap_work=pick(works))
        project, facts["materials"], facts["project_fail"], facts["project_fix"] = pick(words.PROJECTS)
        facts.update(project=project, project_the="the " + project.split(" ", 1)[1])
        facts["skill"], facts["skill_bad"], facts["skill_tip"] = pick(words.SKILLS)
        facts["fear"], facts["fear_need"], facts["fear_do"], facts["fear_learn"] = pick(words.FEARS)
        if not facts["fear_do"].endswith('"'):
            facts["fear_do"] += "."
        facts["clue"], facts["culprit"], says = pick(words.MYSTERIES)
        facts["culprit_says"] = f'"{says}," came the answer. ' if says else ""
        facts["culprit_end"] = ("[{They} helped as well as they could.|Soon they were all good friends.|"
                                "In the end they all had supper together.]" if says else
                                "They turned the bottle around, and it was quiet.")
        facts["wish"], facts["wish_bad"], facts["wish_undo"] = pick(words.WISHES)
        facts["need"], facts["need_why"], facts["need_end"] = pick(words.NEEDS)
        facts["there_was_trouble"], facts["trouble_done"] = pick(plots.TROUBLES)
        facts["moral"] = pick(self.plot["morals"])
        facts["f_bare"] = f.bare()
        return facts

    def value(self, match):
        key, pick = match[1], self.rng.choice
        if key == "H":
            return self.hero.ref()
        if key == "F":
            return self.friend.ref()
        if key == "h_new":
            return self.hero.new()
        if key == "f_new":
            return self.friend.new()
        if key == "They":
            return pick(("they", "they", "the two friends", "{H} and {F}"))
        if key == "t":
            return pick(words.TIMES)
        if key == "a_gift":
            return pick(("a flower", "a warm bun", "a little card", "a paper star", "a pretty shell",
                         "a red balloon", "a jar of honey", "a woolen scarf"))
        if key in words.EMOTIONS:
            return pick(words.EMOTIONS[key])
        if key in ("some_1", "some_2"):  # the adjective only the first time
            return self.facts.pop(key + "_first", None) or self.facts[key + "_the"]
        value = self.facts[key]
        if key == "in_P":  # known from now on
            self.facts["in_P"] = re.sub(r" an? ", " the ", value)
        return value

    def say(self, text):
        while True:
            before = text
            while INNER.search(text):
                text = INNER.sub(lambda m: self.rng.choice(m[1].split("|")), text)
            text = KEY.sub(self.value, text)
            if text == before:
                return tidy(text)

    def text(self):
        rng = self.rng
        scale, share = {"short": (0.25, 0.4), "medium": (0.8, 0.65), "long": (1.5, 1.0)}[self.length]
        parts = [rng.choice(plots.OPENINGS)]
        traits = rng.sample(plots.TRAITS, {"short": 0, "medium": 1, "long": 2}[self.length])
        parts += [t for t in traits if rng.random() < 0.7]
        if self.plot_name not in ("storm", "moon", "birthday") and rng.random() < 0.12:
            parts.append(rng.choice(plots.ASIDES))
        paragraphs = rng.random() < 0.5
        for step in self.plot["steps"]:
            if step is PAR:
                if paragraphs and rng.random() < 0.8:
                    parts.append(PAR)
            elif isinstance(step, tuple):
                if rng.random() < step[0] * scale:
                    parts.append(step[1])
            elif isinstance(step, list):
                count = max(1, min(len(step), round(len(step) * share * rng.uniform(0.6, 1.1))))
                parts += rng.sample(step, count)
            else:
                parts.append(step)
        parts.append(rng.choice(plots.ENDINGS))
        out = ""
        for part in parts:
            if part is PAR:
                out += "\n\n"
            else:
                said = self.say(part)
                out += ("" if not out or out.endswith("\n\n") else " ") + said if said else ""
        return out.strip()

    def request(self):
        """What a user would write to get this story."""
        rng, h = self.rng, self.hero
        if rng.random() < 0.30:
            h.adjective = rng.choice(("little", "little", "small", h.adjective))
            shown = a(h.noun)
        else:
            shown = a(h.phrase())
        if h.name and rng.random() < 0.2:
            shown += rng.choice((f" named {h.name}", f" called {h.name}"))
        more, draw = "", rng.random()
        if draw < 0.25:
            more = " " + self.say_plain(rng.choice(self.plot["ask"]))
        elif draw < 0.40:
            more = " and " + a(self.friend.phrase() if rng.random() < 0.5 else self.friend.noun)
        elif draw < 0.47:
            more = " " + self.facts["in_P"]
        elif draw < 0.52:
            more = f" who lived {self.facts['in_P']}"
        size = {"short": "short ", "long": "long "}.get(self.length, "") if rng.random() < 0.3 else ""
        story = rng.choice(("story", "story", "story", "story", "tale", "bedtime story", "little story"))
        about = f"{size}{story} about {shown}{more}"
        form = rng.choice(("Tell me a {}.", "Tell me a {}.", "Tell me a {}", "Tell me a {}!", "tell me a {}",
                           "Please tell me a {}.", "Can you tell me a {}?", "Write a {}.", "Write me a {}.",
                           "I want to hear a {}.", "I would like a {}, please.", "Could you write a {}?",
                           "Tell us a {}.", "Make up a {}."))
        return form.format(about)

    def say_plain(self, text):
        return KEY.sub(lambda m: str(self.facts[m[1]]), KEY.sub(lambda m: str(self.facts[m[1]]), text))


def tidy(text):
    """Articles, spaces, and a capital at the start of each sentence."""
    text = re.sub(r" +", " ", text).strip()
    text = AN.sub(lambda m: m[1] + "n ", text)
    text = re.sub(r"^(\"?)([a-z])", lambda m: m[1] + m[2].upper(), text)
    text = re.sub(r"([.!?] \"?)([a-z])", lambda m: m[1] + m[2].upper(), text)
    text = re.sub(r"(\.\" \"?)([a-z])", lambda m: m[1] + m[2].upper(), text)
    return re.sub(r"([!?]\" )(?!(?:(?:the |one )?(?:\w+ ){0,3}?)" + SPEECH + r")([a-z])",
                  lambda m: m[1] + m[2].upper(), text)


GREETINGS = ["Hello", "Hi", "Hello!", "Hi there", "Good morning", "Good evening!", "hey", "Hello, how are you?"]
GREETING_REPLIES = [
    "Hello! I am a tiny demo model, and I tell stories. What should my story be about?",
    "Hi! I am a very small model that loves to tell stories. Ask me for a story about {x}!",
    "Hello there! Shall I tell you a story? Perhaps about {x}?",
]
THANKS = ["Thank you!", "Thanks", "Thank you, that was nice.", "That was a lovely story!", "Thank you", "Great story!"]
THANKS_REPLIES = [
    "You are welcome! Shall I tell you another story?",
    "I am glad that you liked it. Ask me for another one any time!",
    "Thank you for listening! Would you like a story about {x} next?",
]
WHO = ["Who are you?", "What are you?", "What can you do?", "What is your name?", "Are you a robot?",
       "Are you an AI?", "Help", "How do you work?"]
WHO_REPLIES = [
    "I am a tiny demo model. I can do only one thing: tell short stories. Try \"Tell me a story about {x}\".",
    "I am a very small language model that tells stories. I do not know much else!",
    "I am the demo model, only a few million numbers. Ask me for a story about {x}!",
]
OFF_TOPIC = ["What is the capital of France?", "What is 2 + 2?", "Write a program.", "How is the weather?",
             "Translate this into German.", "Who is the president?", "What time is it?", "Explain gravity.",
             "What is the meaning of life?", "Write a poem.", "How do I cook rice?", "Why is the sky blue?",
             "Solve this equation.", "Give me a list of cities.", "What should I do today?", "Tell me a joke."]
OFF_TOPIC_REPLIES = [
    "I am only a tiny demo model, and I do not know that. But I can tell you a story about {x}!",
    "That is too hard for me. I am a small model that tells stories. Would you like one about {x}?",
    "I am sorry, I can only tell stories. Try \"Tell me a story about {x}\".",
]
ANYTHING = ["Tell me a story.", "Tell me a story", "Tell me a bedtime story.", "Write a story.", "A story, please!",
            "I want a story.", "Can you tell me a story?", "Surprise me with a story."]
ANOTHER = ["Tell me another one about {x}.", "Now tell me a story about {x}.", "Another one, about {x}, please.",
           "And one about {x}?", "Tell me one about {x}."]
SYSTEMS = ["You are a friendly storyteller.", "You tell short stories for children.", "You are a helpful assistant."]


def render(messages):
    """The chat template of the demo model, in Python."""
    return "".join(f"{IM_START}{role}\n{content}{IM_END}\n" for role, content in messages)


def chat(rng):
    reply = lambda lines: rng.choice(lines).format(x=a(f"{rng.choice(words.PLAIN)} {any_noun(rng)}"))
    draw = rng.random()
    messages = []
    if rng.random() < 0.06:
        messages.append(("system", rng.choice(SYSTEMS)))
    if draw < 0.05:
        messages += [("user", rng.choice(WHO)), ("assistant", reply(WHO_REPLIES))]
    elif draw < 0.09:
        messages += [("user", rng.choice(OFF_TOPIC)), ("assistant", reply(OFF_TOPIC_REPLIES))]
    elif draw < 0.13:
        messages += [("user", rng.choice(GREETINGS)), ("assistant", reply(GREETING_REPLIES))]
    if 0.05 <= draw < 0.09 and rng.random() < 0.5:
        return render(messages)

    story = Story(rng)
    if rng.random() < 0.05:
        request = rng.choice(ANYTHING)
    else:
        request = story.request()
    messages += [("user", request), ("assistant", story.text())]
    if 0.13 < draw < 0.20:
        messages += [("user", rng.choice(THANKS)), ("assistant", reply(THANKS_REPLIES))]
    if 0.17 < draw < 0.27:
        story = Story(rng, rng.choice(("short", "medium")))
        ask = rng.choice(ANOTHER).format(x=a(story.hero.phrase()))
        messages += [("user", ask), ("assistant", story.text())]
    return render(messages)


def document(rng):
    return chat(rng) if rng.random() < 0.6 else Story(rng).text() + EOT


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--documents", type=int, default=150000)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--out", default="stories.jsonl")
    args.add_argument("--show", type=int, default=0)
    args = args.parse_args()
    rng = random.Random(args.seed)
    if args.show:
        for _ in range(args.show):
            print(document(rng), "\n" + "-" * 80)
        return
    with open(args.out, "w") as out:
        for _ in range(args.documents):
            out.write(json.dumps(document(rng)) + "\n")


if __name__ == "__main__":
    main()
