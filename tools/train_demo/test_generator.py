"""python test_generator.py: properties that every generated document must have."""

import random
import re
import unittest

import generate
import plots


class Generator(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        rng = random.Random(11)
        cls.documents = [generate.document(rng) for _ in range(2000)]
        cls.stories = [generate.Story(rng) for _ in range(2000)]
        cls.texts = [story.text() for story in cls.stories]

    def test_leaves_no_mark_of_the_grammar(self):
        for text in self.documents:
            self.assertIsNone(re.search(r"[\[\]{}_]|  |\bNone\b", text.replace("<|im_start|>", "")
                                        .replace("<|im_end|>", "")), text)

    def test_uses_the_right_article(self):
        for text in self.texts:
            self.assertIsNone(re.search(r"\b[Aa] [aio]|\b[Aa]n [^aeiou]", text), text)

    def test_starts_sentences_with_a_capital(self):
        for text in self.texts:
            self.assertIsNone(re.search(r"(^|\. )[a-z]", text), text)

    def test_tells_of_the_hero_and_the_friend(self):
        for story, text in zip(self.stories, self.texts):
            self.assertIn(story.hero.noun, text)
            self.assertTrue(story.friend.noun in text or (story.friend.name or "?") in text, text)

    def test_stays_within_its_length(self):
        counts = [len(text.split()) for text in self.texts]
        self.assertGreater(min(counts), 50)
        self.assertLess(max(counts), 320)

    def test_hardly_repeats_a_sentence_order(self):
        # Two stories of one plot share few five-word sequences once names are their own.
        def grams(text):
            w = text.split()
            return {tuple(w[i:i + 5]) for i in range(len(w) - 4)}
        by_plot = {}
        for story, text in zip(self.stories, self.texts):
            by_plot.setdefault(story.plot_name, []).append(grams(text))
        self.assertEqual(len(by_plot), len(plots.PLOTS))
        for name, all_grams in by_plot.items():
            pairs = list(zip(all_grams, all_grams[1:]))
            shared = sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)
            self.assertLess(shared, 0.25, name)

    def test_same_seed_same_text(self):
        self.assertEqual(generate.document(random.Random(5)), generate.document(random.Random(5)))


if __name__ == "__main__":
    unittest.main()
