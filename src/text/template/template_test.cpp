#include "text/template/template.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "base/file.h"

namespace quern {
namespace {

/// 2024-07-26T12:00:00, what the goldens were recorded with. A busy machine may be slow, so that
/// the time limit is left to the tests that are about it.
RenderOptions golden_options() {
  return {.now = *CivilTime::parse("2024-07-26T12:00:00"), .limits = {.milliseconds = 60'000}};
}

Result<std::string> render(const std::string& source, const Json& variables = Json::object(),
                           const RenderOptions& options = golden_options()) {
  ASSIGN_OR_RETURN(const ChatTemplate parsed, ChatTemplate::parse(source, "test"));
  return parsed.render(variables, options);
}

std::string rendered(const std::string& source, const Json& variables = Json::object()) {
  auto result = render(source, variables);
  return result ? *result : "ERROR " + result.error().message;
}

std::string error_of(const std::string& source, const RenderOptions& options = golden_options(),
                     const Json& variables = Json::object()) {
  auto result = render(source, variables, options);
  return result ? "no error, rendered: " + result->substr(0, 100) : result.error().message;
}

std::vector<Json> read_lines(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(*parse_json(line, path.string()));
  }
  return lines;
}

TEST(ChatTemplate, RendersWhatJinjaRenders) {
  const auto path = std::filesystem::path(QUERN_SOURCE_DIR) / "src/text/testdata/templates.jsonl";
  const std::vector<Json> cases = read_lines(path);
  ASSERT_GT(cases.size(), 300u);
  for (const Json& expected : cases) {
    const std::string source = expected["template"];
    const auto result = render(source, expected["vars"]);
    if (expected.contains("output")) {
      EXPECT_TRUE(result) << source << "\n  " << (result ? "" : result.error().message);
      if (result) {
        EXPECT_EQ(*result, expected["output"].get<std::string>()) << source;
      }
      continue;
    }
    const std::string error = expected["error"];
    EXPECT_FALSE(result) << source << " rendered " << (result ? *result : "") << ", wanted "
                         << error;
    if (result) continue;
    EXPECT_EQ(result.error().code, ErrorCode::kBadInput) << source;
    EXPECT_TRUE(result.error().message.starts_with("test: template line ")) << source;
    constexpr std::string_view kRaised = "raised: ";
    if (error.starts_with(kRaised)) {
      EXPECT_EQ(result.error().message, "test: template line 1: " + error.substr(kRaised.size()));
    }
  }
}

TEST(ChatTemplate, RendersRealTemplatesByteForByte) {
  const char* assets = std::getenv("QUERN_TEST_ASSETS");
  const std::filesystem::path folder =
      (assets != nullptr ? std::filesystem::path(assets)
                         : std::filesystem::path(QUERN_SOURCE_DIR) / "../shared/assets") /
      "chat-templates";
  if (!std::filesystem::exists(folder / "golden.jsonl")) {
    std::cout << "no " << folder / "golden.jsonl"
              << ": set QUERN_TEST_ASSETS to the assets folder\n";
    GTEST_SKIP();
  }
  const std::vector<Json> goldens = read_lines(folder / "golden.jsonl");
  ASSERT_EQ(goldens.size(), 108u);
  for (const Json& golden : goldens) {
    const std::string name = golden["template"];
    const auto source = read_file(folder / name, 1 << 20);
    ASSERT_TRUE(source) << name;
    const auto parsed = ChatTemplate::parse(*source, name);
    ASSERT_TRUE(parsed) << parsed.error().message;
    RenderOptions options = golden_options();
    options.now = *CivilTime::parse(golden["now"].get<std::string>());
    const auto result = parsed->render(golden["context"], options);
    if (golden.contains("output")) {
      ASSERT_TRUE(result) << name << " " << golden["case"] << ": " << result.error().message;
      EXPECT_EQ(*result, golden["output"].get<std::string>()) << name << " " << golden["case"];
    } else {
      constexpr std::string_view kClass = "TemplateError: ";
      const std::string error = golden["error"].get<std::string>().substr(kClass.size());
      ASSERT_FALSE(result) << name << " " << golden["case"];
      EXPECT_TRUE(result.error().message.ends_with(": " + error)) << result.error().message;
    }
  }
}

TEST(ChatTemplate, RefusesByNameAndLineWhatIsNotSupported) {
  const auto refused = [](const std::string& source) {
    const auto parsed = ChatTemplate::parse(source, "chat_template.jinja");
    return parsed ? std::string("parsed") : parsed.error().message;
  };
  EXPECT_EQ(refused("\n\n{% include 'x' %}"),
            "chat_template.jinja: template line 3: the tag 'include' is not supported in a chat "
            "template");
  for (const std::string tag : {"import 'x' as y", "from 'x' import y", "extends 'x'", "block x",
                                "autoescape true", "do x", "trans"}) {
    EXPECT_NE(refused("{% " + tag + " %}").find("not supported"), std::string::npos) << tag;
  }
  EXPECT_NE(refused("{{ x | xmlattr }}").find("the filter 'xmlattr' is not supported"),
            std::string::npos);
  EXPECT_NE(refused("{{ x | map('pprint') }}").find("the filter 'pprint' is not supported"),
            std::string::npos);
  EXPECT_NE(refused("{{ x is magic }}").find("the test 'magic' is not supported"),
            std::string::npos);
  EXPECT_NE(refused("{{ x | select('magic') }}").find("the test 'magic' is not supported"),
            std::string::npos);
  EXPECT_NE(refused("{{ x.encode() }}").find("the method 'encode' is not supported"),
            std::string::npos);
  EXPECT_NE(refused("{{ lipsum() }}").find("'lipsum' is not supported"), std::string::npos);
  EXPECT_NE(refused("{% for x in y recursive %}{% endfor %}").find("recursive"), std::string::npos);
  EXPECT_NE(refused("{{ '\\N{DASH}' }}").find("not supported"), std::string::npos);
  EXPECT_NE(refused("{{ 9223372036854775808 }}").find("does not fit in 64 bits"),
            std::string::npos);
  EXPECT_NE(refused("{{ '\xff' }}").find("not valid UTF-8"), std::string::npos);
  EXPECT_NE(refused(std::string(1 << 21, 'x')).find("at most 1048576"), std::string::npos);
}

TEST(ChatTemplate, NamesTheLineOfAFailure) {
  EXPECT_EQ(error_of("a\n{% if true %}\n{{ x.y.z }}\n{% endif %}"),
            "test: template line 3: 'x' is undefined");
  EXPECT_EQ(error_of("\n{% set ns = namespace() %}\n{{ ns.a + 1 }}"),
            "test: template line 3: a namespace has no 'a'");
  EXPECT_EQ(error_of("{{ 'a' + 1 }}"),
            "test: template line 1: '+' does not work on a string and an integer");
}

TEST(ChatTemplate, IntegersThatLeave64BitsAreAnErrorAndNeverWrap) {
  for (const std::string sum :
       {"9223372036854775807 + 1", "-9223372036854775807 - 2", "3037000500 * 3037000500", "2 ** 63",
        "10 ** 19", "-(-9223372036854775807 - 1)", "(-9223372036854775807 - 1) // -1"}) {
    EXPECT_NE(error_of("{{ " + sum + " }}").find("does not fit in 64 bits"), std::string::npos)
        << sum;
  }
  EXPECT_EQ(rendered("{{ 2 ** 62 }} {{ (-9223372036854775807 - 1) % 3 }} "
                     "{{ (-9223372036854775807 - 1) % -1 }}"),
            "4611686018427387904 1 0");
  const Json big = *parse_json(R"({"messages": [18446744073709551615]})", "vars");
  EXPECT_NE(error_of("{{ messages }}", golden_options(), big).find("does not fit"),
            std::string::npos);
}

TEST(ChatTemplate, NumbersAtTheEdgesOf64BitsAreWidthsAndBoundsAsInPython) {
  const std::string least = "(-9223372036854775807 - 1)", most = "9223372036854775807";
  const auto show = [](const std::string& expression) {
    return rendered("{{ " + expression + " }}");
  };
  for (const std::string method : {"ljust", "rjust", "center", "zfill"}) {
    EXPECT_EQ(show("'ab'." + method + "(" + least + ")"), "ab") << method;
  }
  EXPECT_EQ(show("'ab' | center(" + least + ")"), "ab");
  EXPECT_EQ(show("'x' | truncate(" + most + ")"), "x");
  EXPECT_EQ(show("'abcdef' | truncate(4, true, '', " + most + ")"), "abcdef");
  EXPECT_EQ(show("'abc'[" + least + ":" + most + "]"), "abc");
  EXPECT_EQ(show("'abc'[::" + least + "]"), "c");
  EXPECT_EQ(show("[1, 2, 3][" + most + "::" + least + "]"), "[3]");
  const std::string wide = "range(" + least + ", " + most + ", 4611686018427387904)";
  EXPECT_EQ(show(wide + " | list"),
            "[-9223372036854775808, -4611686018427387904, 0, 4611686018427387904]");
  EXPECT_EQ(show("0 in " + wide), "True");
  EXPECT_EQ(show("1 in " + wide), "False");
  // The remainder of a distance of more than 63 bits.
  EXPECT_EQ(
      show("3000000000000000000 in range(-9000000000000000000, " + most + ", 3000000000000000000)"),
      "True");
  EXPECT_EQ(show("-3 in range(5, -9, -4)"), "True");
  EXPECT_EQ(show("-2 in range(5, -9, -4)"), "False");
  EXPECT_EQ(show("[1, 2] | batch(" + least + ", 0) | list"), "[[1, 2]]");
  for (const std::string& huge :
       {"[1] * " + most, std::string("[1] * 2 ** 41"), "[1] | batch(" + most + ", 0)"}) {
    EXPECT_NE(error_of("{{ " + huge + " }}").find("bytes, the limit"), std::string::npos) << huge;
  }
  // Python has a range behind the last item; here its start does not fit.
  EXPECT_NE(show("range(9223372036854775800, " + most + ", 5)[2:]").find("does not fit in 64 bits"),
            std::string::npos);
}

TEST(ChatTemplate, ASurrogateIsNoCharacter) {
  EXPECT_EQ(rendered("{{ '%c' % 55295 }}"), "\xED\x9F\xBF");
  for (const char* surrogate : {"55296", "57343"}) {
    EXPECT_NE(error_of(std::string("{{ '%c' % ") + surrogate + " }}").find("no character"),
              std::string::npos);
    EXPECT_NE(error_of(std::string("{{ '{:c}'.format(") + surrogate + ") }}").find("no character"),
              std::string::npos);
  }
}

// --- limits

TEST(ChatTemplateLimits, ALoopWithoutEndRunsOutOfSteps) {
  const std::string source =
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
  EXPECT_NE(error_of(source, {.limits = {.milliseconds = 60'000}}).find("after 10000000 steps"),
            std::string::npos);
}

TEST(ChatTemplateLimits, WorkOnLongTextsIsPaidByTheByte) {
  for (const std::string use : {"a == b",
                                "[a] == [b]",
                                "a < b",
                                "a in [b]",
                                "{b: 1}[a]",
                                "a in b",
                                "a is lower",
                                "a|int",
                                "a|float",
                                "a.startswith(b)",
                                "a.removeprefix(b)",
                                "a.isalpha()",
                                "a.find('y')",
                                "a.count('y')",
                                "a.rfind('y')",
                                "a|wordcount",
                                "a|upper",
                                "a|replace('y', '')",
                                "a.split('y')",
                                "a.strip('y')",
                                "a.partition('y')",
                                "a ~ b",
                                "a[1:]",
                                "a|length ~ a[::-1]",
                                "a|tojson",
                                "[a]",
                                "a.splitlines()",
                                "'%s' % a",
                                "a|e"}) {
    const std::string source =
        "{% set a = 'x' * 4000000 + 'e' %}{% set b = 'x' * 4000000 + 'e' %}{% for i in "
        "range(100000) %}"
        "{% set c = " +
        use + " %}{% endfor %}";
    const auto result =
        render(source, Json::object(), {.limits = {.steps = 500'000, .milliseconds = 600'000}});
    ASSERT_FALSE(result) << use;
    EXPECT_NE(result.error().message.find("500000 steps"), std::string::npos)
        << use << ": " << result.error().message;
  }
}

TEST(ChatTemplateLimits, TimeIsUpWhenTheClockSaysSo) {
  struct FastClock final : Clock {
    mutable int64_t now = 0;
    int64_t now_ns() const override { return now += 400'000'000; }
  };
  const FastClock clock;
  const std::string source = "{% for a in range(100000) %}{{ a }}{% endfor %}";
  EXPECT_NE(error_of(source, {.clock = &clock}).find("after 1000 ms"), std::string::npos);
}

TEST(ChatTemplateLimits, AMacroThatCallsItselfIsStopped) {
  EXPECT_NE(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").find("deeper than 200"),
            std::string::npos);
}

TEST(ChatTemplateLimits, WhatATemplateBuildsStaysWithinItsMemory) {
  for (const std::string source :
       {"{{ 'x' * 100000000 }}",
        "{{ [1] * 100000000 }}",
        "{{ 'x' * 9223372036854775807 }}",
        "{% set n = namespace(s='x') %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor "
        "%}",
        "{% set n = namespace(s='x') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor "
        "%}",
        "{% set n = namespace(l=[1]) %}{% for i in range(40) %}{% set n.l = n.l + n.l %}{% endfor "
        "%}",
        "{% set s = 'x' * 10000 %}{% for i in range(100000) %}{{ s }}{% endfor %}",
        "{{ ('x' * 1000000) | list }}",
        "{{ ('x,' * 2000000).split(',') | length }}",
        "{{ 'x' | indent(100000000, true) }}",
        "{{ 'x'.center(100000000) }}",
        "{{ '%0100000000d' % 1 }}",
        "{{ ('ab' * 1000000).replace('', 'x' * 1000) }}",
        "{{ (['x' * 1000000] * 100) | join }}",
        "{{ [1] | tojson(indent=100000000) }}",
        "{{ range(100000) | batch(1) | list | tojson(indent='x' * 1000) }}",
        "{{ '{:>60000000}{:>60000000}'.format(1, 2) }}",
        "{{ [1] | batch(100000000, 'x') | list }}",
        "{{ [] | slice(100000000) | list }}",
        "{{ ('\\t' * 1000).expandtabs(100000) }}",
        "{{ 'x'.ljust(100000000) }}",
        "{{ '1'.zfill(100000000) }}",
        "{{ 'x' | center(100000000) }}"}) {
    const std::string error = error_of(source);
    EXPECT_TRUE(error.find("67108864 bytes") != std::string::npos ||
                error.find("steps") != std::string::npos ||
                error.find("1000 ms") != std::string::npos ||
                error.find("format") != std::string::npos)
        << source << ": " << error;
  }
}

TEST(ChatTemplateLimits, ValuesThatHoldThemselvesAreNotWalkedForEver) {
  const std::string deep =
      "{% set n = namespace(v=[]) %}{% for i in range(5000) %}{% set n.v = [n.v] %}{% endfor %}";
  for (const std::string use :
       {"{{ n.v }}", "{{ n.v | tojson }}", "{{ n.v == [n.v] }}", "{{ [n.v] < [[n.v]] }}"}) {
    EXPECT_NE(error_of(deep + use).find("200 levels"), std::string::npos) << use;
  }
  EXPECT_NE(error_of("{% set n = namespace() %}{% set n.n = n %}{{ n }}").find("200 levels"),
            std::string::npos);
  // Few objects, but exponentially many ways through them.
  const std::string wide =
      "{% set n = namespace(v=(1,)) %}{% for i in range(60) %}{% set n.v = (n.v, n.v) %}{% endfor "
      "%}"
      "{% set m = namespace(v=(1,)) %}{% for i in range(60) %}{% set m.v = (m.v, m.v) %}{% endfor "
      "%}";
  for (const std::string use : {"{{ n.v == m.v }}", "{{ {n.v: 1} }}", "{{ n.v | tojson }}",
                                "{{ n.v }}", "{{ n.v < m.v }}"}) {
    const std::string error = error_of(wide + use);
    EXPECT_TRUE(error.find("steps") != std::string::npos ||
                error.find(" ms") != std::string::npos || error.find(" bytes") != std::string::npos)
        << use << error;
  }
}

TEST(ChatTemplateLimits, NestingIsRefusedWhileParsing) {
  const auto repeat = [](const std::string& part, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += part;
    return out;
  };
  const std::pair<std::string, std::string> brackets[] = {
      {"(", ")"},           {"[", "]"},   {"{'a':", "}"},         {"f(", ")"},
      {"x[", "]"},          {"[(", ")]"}, {"x|default(", ")"},    {"x is divisibleby(", ")"},
      {"1 if 1 else ", ""}, {"-(", ")"},  {"1 if (", ") else 2"}, {"f(a=", ")"}};
  for (const auto& [open, close] : brackets) {
    const std::string source = "{{ " + repeat(open, 50'000) + "1" + repeat(close, 50'000) + " }}";
    EXPECT_NE(error_of(source).find("deeper than 200"), std::string::npos) << open;
    EXPECT_NE(error_of("{{ " + repeat(open, 50'000)).find("never closed"), std::string::npos);
  }
  for (const std::string open :
       {"{% if 1 %}", "{% for x in y %}", "{% macro f() %}", "{% set x %}", "{% filter upper %}",
        "{% with %}", "{% call f() %}", "{% generation %}"}) {
    EXPECT_NE(error_of(repeat(open, 50'000)).find("deeper than 200"), std::string::npos) << open;
  }
  EXPECT_NE(error_of("{% set " + repeat("(", 50'000) + "x" + repeat(")", 50'000) + " = 1 %}")
                .find("deeper than 200"),
            std::string::npos);
}

TEST(ChatTemplateLimits, LongFlatExpressionsAreFine) {
  std::string sum = "1", chain = "1", all = "true", text = "''", members = "x", minus, no;
  for (int i = 0; i < 20'000; ++i) {
    sum += "+1";
    chain += "<" + std::to_string(i + 2);
    all += " and 1";
    text += "~'a'";
    minus += "- ";
    no += "not ";
  }
  EXPECT_EQ(rendered("{{ " + sum + " }}"), "20001");
  EXPECT_EQ(rendered("{{ " + chain + " }}"), "True");
  EXPECT_EQ(rendered("{{ " + all + " }}"), "1");
  EXPECT_EQ(rendered("{{ (" + text + ")|length }}"), "20000");
  EXPECT_EQ(rendered("{{ " + minus + "5 }}"), "5");
  EXPECT_EQ(rendered("{{ " + no + "true }}"), "True");
}

TEST(ChatTemplateLimits, VariablesCountAsWell) {
  Json variables = {{"messages", Json::array()}};
  variables["messages"].push_back(std::string(size_t{70} << 20, 'x'));
  EXPECT_NE(error_of("{{ messages[0] | length }}", golden_options(), variables).find("bytes"),
            std::string::npos);
  Json deep = Json::array();
  for (int i = 0; i < 300; ++i) deep = Json::array({std::move(deep)});
  EXPECT_NE(error_of("{{ x }}", golden_options(), {{"x", deep}}).find("nests deeper than 200"),
            std::string::npos);
}

// --- where bytes come from

/// The segments with what comes from the variables in angle brackets.
std::string marked(const std::string& source, const Json& variables) {
  const auto parsed = ChatTemplate::parse(source, "test");
  if (!parsed) return "ERROR " + parsed.error().message;
  const auto segments = parsed->render_segments(variables, golden_options());
  if (!segments) return "ERROR " + segments.error().message;
  std::string out;
  for (const Segment& segment : *segments) {
    out += segment.from_variables ? "<" + segment.text + ">" : segment.text;
  }
  return out;
}

TEST(ChatTemplateSegments, MessageContentIsMarkedAndTheTemplatesTextIsNot) {
  const Json variables = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}},
                          {"tools", {{{"name", "add"}}}},
                          {"bos_token", "BOS"},
                          {"extra", {"listed"}},
                          {"date", "today"}};
  EXPECT_EQ(
      marked("{{ bos_token }}|{{ messages[0].content }}|{{ date }}|{{ extra[0] }}", variables),
      "BOS|<Hi>|today|<listed>");
  EXPECT_EQ(marked("{{ '[' + messages[0].content ~ ']' }}", variables), "[<Hi>]");
  EXPECT_EQ(marked("{% for m in messages %}{% for k, v in m.items() %}{{ k }}={{ v }};"
                   "{% endfor %}{% endfor %}",
                   variables),
            "<role>=user;<content>=<Hi>;");
  EXPECT_EQ(marked("{{ tools | tojson }}", variables), "[{\"<name>\": \"<add>\"}]");
  EXPECT_EQ(marked("{{ messages[0] }}", variables), "{'<role>': 'user', '<content>': '<Hi>'}");
}

TEST(ChatTemplateSegments, TheMarkSurvivesEveryOperation) {
  const Json variables = {{"messages", {"aBc d"}}};
  const auto check = [&](const std::string& expression, const std::string& wanted) {
    EXPECT_EQ(marked("{% set m = messages[0] %}{{ " + expression + " }}", variables), wanted)
        << expression;
  };
  check("m|upper", "<ABC D>");
  check("('x' ~ m ~ 'y')|upper", "X<ABC D>Y");
  check("('x' + m)[0:3]", "x<aB>");
  check("('x' + m)[::-1]", "<d cBa>x");
  check("(' ' + m + ' ')|trim", "<aBc d>");
  check("m.replace('B', '-')", "<a>-<c d>");
  check("'1-2'.replace('-', m)", "1<aBc d>2");
  check("m.split('B')|join('+')", "<a>+<c d>");
  check("[m, 'x', m]|join(m)", "<aBc daBc d>x<aBc daBc d>");
  check("'%s!' % m", "<aBc d>!");
  check("'{}!'.format(m)", "<aBc d>!");
  check("m|title", "<Abc D>");
  check("m|capitalize", "<Abc d>");
  check("m|center(9)", "  <aBc d>  ");
  check("m|indent(2, true)", "  <aBc d>");
  check("m|first ~ 'z'", "<a>z");
  check("m|list|sort|join", "< aBcd>");
  check("m|reverse", "<d cBa>");
  check("{'k': m}|tojson", "{\"k\": \"<aBc d>\"}");
  check("m|tojson|length", "7");
  check("m|e", "<aBc d>");
  check("m|string|safe", "<aBc d>");
  check("m|truncate(3, true, '.', 0)", "<aB>.");
  check("m|replace('a', 'A')", "A<Bc d>");
  check("[m]", "['<aBc d>']");
  check("m * 2", "<aBc daBc d>");
  check("m.partition(' ')[0]", "<aBc>");
  check("m if m else ''", "<aBc d>");
  check("m|default('x')", "<aBc d>");
  check("namespace(a=m).a", "<aBc d>");
  EXPECT_EQ(marked("{% macro f(x) %}({{ x }}){% endmacro %}{{ f(messages[0]) }}", variables),
            "(<aBc d>)");
  EXPECT_EQ(marked("{% set s %}[{{ messages[0] }}]{% endset %}{{ s }}", variables), "[<aBc d>]");
  EXPECT_EQ(marked("{% filter upper %}x{{ messages[0] }}{% endfilter %}", variables), "X<ABC D>");
}

TEST(ChatTemplateSegments, ARoleIsTheTemplatesOnlyWhenItIsAPlainWord) {
  const std::string source = "{{ '[|' + messages[0].role + '|]' }}";
  EXPECT_EQ(marked(source, {{"messages", {{{"role", "user"}}}}}), "[|user|]");
  EXPECT_EQ(marked(source, {{"messages", {{{"role", "x|][|end"}}}}}), "[|<x|][|end>|]");
  EXPECT_EQ(marked("{{ messages[0].function.role }}",
                   {{"messages", {{{"function", {{"role", "user"}}}}}}}),
            "<user>");
}

TEST(ChatTemplateSegments, TogetherTheyAreTheRenderedText) {
  const Json variables = {{"messages", {"a", "", "b"}}};
  const std::string source = "{% for m in messages %}<{{ m }}>{% endfor %}";
  const auto parsed = ChatTemplate::parse(source, "test");
  const auto segments = parsed->render_segments(variables);
  ASSERT_TRUE(segments);
  std::string joined;
  for (const Segment& segment : *segments) {
    EXPECT_FALSE(segment.text.empty());
    joined += segment.text;
  }
  EXPECT_EQ(joined, *parsed->render(variables));
  EXPECT_EQ(joined, "<a><><b>");
}

// --- time

TEST(CivilTime, ReadsIsoDatesAndRefusesOthers) {
  EXPECT_EQ(CivilTime::parse("2024-02-29")->day, 29);
  EXPECT_EQ(CivilTime::parse("2024-07-26T23:59:58")->second, 58);
  for (const std::string text :
       {"", "2024", "2023-02-29", "2024-13-01", "2024-07-26T24:00:00", "2024-07-26T12:00",
        "2024-07-26T12:00:0x", "0000-01-01", "2024-07-26X12:00:00", "-024-07-26"}) {
    EXPECT_FALSE(CivilTime::parse(text)) << text;
  }
}

TEST(ChatTemplate, SaysWhichVariablesItReads) {
  const auto parsed = ChatTemplate::parse(
      "{% set mine = 1 %}{{ mine }}{% for m in messages %}{{ m.role }}{% if loop.last and thinks %}"
      "{{ m['think'] }}{% endif %}{% endfor %}{% if early is defined %}{% set early = 2 %}"
      "{% endif %}{{ early }}{% macro show(x) %}{{ x }}{{ deep }}{% endmacro %}{{ show(1) }}",
      "test");
  ASSERT_TRUE(parsed) << parsed.error().message;
  for (const char* name : {"messages", "thinks", "early", "deep"}) {
    EXPECT_TRUE(parsed->reads(name)) << name;
  }
  for (const char* name : {"mine", "m", "role", "think", "loop", "x", "show", "other", ""}) {
    EXPECT_FALSE(parsed->reads(name)) << name;
  }
}

TEST(ChatTemplate, LocalTimeIsShownWhereNoneIsGiven) {
  const auto text = render("{{ strftime_now('%Y') }}", Json::object(), {});
  ASSERT_TRUE(text);
  EXPECT_GE(*text, "2024");
}

}  // namespace
}  // namespace quern
