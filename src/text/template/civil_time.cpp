#include "text/template/civil_time.h"

#include <array>
#include <chrono>
#include <ctime>

#include "base/cat.h"
#include "base/numbers.h"

namespace quern {

namespace {

using std::chrono::sys_days;

std::chrono::year_month_day date_of(const CivilTime& time) {
  return std::chrono::year(time.year) / static_cast<unsigned>(time.month) /
         static_cast<unsigned>(time.day);
}

}  // namespace

Result<CivilTime> CivilTime::parse(std::string_view text) {
  const auto refuse = [&] {
    return Error{.code = ErrorCode::kUsage,
                 .message = cat("\"", text.substr(0, 60),
                                "\" is no date and time; write it as 2024-07-26T12:00:00"),
                 .found = std::string(text.substr(0, 60)),
                 .wanted = "2024-07-26T12:00:00"};
  };
  const bool date_only = text.size() == 10;
  if (!date_only && text.size() != 19) return refuse();
  constexpr std::string_view kShape = "dddd-dd-ddTdd:dd:dd";
  for (size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    const bool fits = kShape[i] == 'd'   ? digit
                      : kShape[i] == 'T' ? text[i] == 'T' || text[i] == ' '
                                         : text[i] == kShape[i];
    if (!fits) return refuse();
  }
  const auto number = [&](size_t at, size_t size) {
    return static_cast<int>(*parse_integer<uint32_t>(text.substr(at, size)));
  };
  CivilTime time{.year = number(0, 4), .month = number(5, 2), .day = number(8, 2)};
  if (!date_only) {
    time.hour = number(11, 2);
    time.minute = number(14, 2);
    time.second = number(17, 2);
  }
  if (time.year < 1 || !date_of(time).ok() || time.hour > 23 || time.minute > 59 ||
      time.second > 59) {
    return refuse();
  }
  return time;
}

CivilTime CivilTime::local_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  return {.year = parts.tm_year + 1900,
          .month = parts.tm_mon + 1,
          .day = parts.tm_mday,
          .hour = parts.tm_hour,
          .minute = parts.tm_min,
          .second = parts.tm_sec};
}

namespace jinja {

namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"};

struct CalendarDay {
  int weekday = 0;      // 0 is Sunday
  int day_of_year = 0;  // counts from 0
  int iso_year = 0, iso_week = 0;
  int64_t days_since_1970 = 0;
};

CalendarDay calendar_day(const CivilTime& time) {
  CalendarDay out;
  const sys_days day = date_of(time);
  out.days_since_1970 = day.time_since_epoch().count();
  out.weekday = static_cast<int>(std::chrono::weekday(day).c_encoding());
  const auto new_year = [](int year) { return sys_days(std::chrono::year(year) / 1 / 1); };
  out.day_of_year = static_cast<int>((day - new_year(time.year)).count());
  // The ISO week belongs to the year of its Thursday.
  const sys_days thursday = day + std::chrono::days(3 - (out.weekday + 6) % 7);
  out.iso_year = static_cast<int>(std::chrono::year_month_day(thursday).year());
  out.iso_week = static_cast<int>((thursday - new_year(out.iso_year)).count()) / 7 + 1;
  return out;
}

/// A number in at least `width` places, filled with `fill` unless a flag says otherwise.
std::string padded(int64_t value, int width, char fill, char flag) {
  std::string digits = cat(value);
  if (flag == '-') return digits;
  if (flag == '_') fill = ' ';
  if (flag == '0') fill = '0';
  if (static_cast<int>(digits.size()) < width) {
    digits.insert(0, static_cast<size_t>(width) - digits.size(), fill);
  }
  return digits;
}

}  // namespace

std::optional<std::string> format_time(const CivilTime& time, std::string_view format,
                                       std::string& unknown) {
  const CalendarDay day = calendar_day(time);
  const int hour12 = time.hour % 12 == 0 ? 12 : time.hour % 12;
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    char flag = 0;
    size_t at = i + 1;
    while (at < format.size() &&
           std::string_view("-_0^#").find(format[at]) != std::string_view::npos) {
      flag = format[at++];
    }
    if (at >= format.size()) {
      unknown = format.substr(i);
      return std::nullopt;
    }
    const auto two = [&](int64_t value, char fill = '0') { return padded(value, 2, fill, flag); };
    const auto composed = [&](std::string_view parts) {
      std::string ignored;
      return *format_time(time, parts, ignored);
    };
    std::string piece;
    switch (format[at]) {
      case 'a':
        piece = kDays[static_cast<size_t>(day.weekday)].substr(0, 3);
        break;
      case 'A':
        piece = kDays[static_cast<size_t>(day.weekday)];
        break;
      case 'b':
      case 'h':
        piece = kMonths[static_cast<size_t>(time.month - 1)].substr(0, 3);
        break;
      case 'B':
        piece = kMonths[static_cast<size_t>(time.month - 1)];
        break;
      case 'c':
        piece = composed("%a %b %e %H:%M:%S %Y");
        break;
      case 'C':
        piece = two(time.year / 100);
        break;
      case 'd':
        piece = two(time.day);
        break;
      case 'D':
      case 'x':
        piece = composed("%m/%d/%y");
        break;
      case 'e':
        piece = two(time.day, ' ');
        break;
      case 'f':
        piece = "000000";
        break;
      case 'F':
        piece = composed("%Y-%m-%d");
        break;
      case 'g':
        piece = two(day.iso_year % 100);
        break;
      case 'G':
        piece = cat(day.iso_year);
        break;
      case 'H':
        piece = two(time.hour);
        break;
      case 'I':
        piece = two(hour12);
        break;
      case 'j':
        piece = padded(day.day_of_year + 1, 3, '0', flag);
        break;
      case 'k':
        piece = two(time.hour, ' ');
        break;
      case 'l':
        piece = two(hour12, ' ');
        break;
      case 'm':
        piece = two(time.month);
        break;
      case 'M':
        piece = two(time.minute);
        break;
      case 'n':
        piece = "\n";
        break;
      case 'p':
        piece = flag == '#' ? (time.hour < 12 ? "am" : "pm") : time.hour < 12 ? "AM" : "PM";
        break;
      case 'P':
        piece = time.hour < 12 ? "am" : "pm";
        break;
      case 'r':
        piece = composed("%I:%M:%S %p");
        break;
      case 'R':
        piece = composed("%H:%M");
        break;
      case 'S':
        piece = two(time.second);
        break;
      case 't':
        piece = "\t";
        break;
      case 'T':
      case 'X':
        piece = composed("%H:%M:%S");
        break;
      case 'u':
        piece = cat(day.weekday == 0 ? 7 : day.weekday);
        break;
      case 'U':
        piece = two((day.day_of_year + 7 - day.weekday) / 7);
        break;
      case 'V':
        piece = two(day.iso_week);
        break;
      case 'w':
        piece = cat(day.weekday);
        break;
      case 'W':
        piece = two((day.day_of_year + 7 - (day.weekday + 6) % 7) / 7);
        break;
      case 'y':
        piece = two(time.year % 100);
        break;
      case 'Y':
        piece = cat(time.year);
        break;
      case 'z':
      case 'Z':
        break;  // a time without a zone
      case '%':
        piece = "%";
        break;
      default:
        unknown = format.substr(i, at - i + 1);
        return std::nullopt;
    }
    if (flag == '^') {
      for (char& c : piece) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    }
    out += piece;
    i = at;
  }
  return out;
}

}  // namespace jinja

}  // namespace quern
