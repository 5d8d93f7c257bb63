#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <span>

#include "base/byte_reader.h"
#include "base/numbers.h"

namespace quern {
namespace {

/// A file that goes away with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view content)
      : path_(std::filesystem::temp_directory_path() /
              cat("quern_", ::getpid(), "_", reinterpret_cast<uintptr_t>(this))) {
    EXPECT_TRUE(write_file_atomically(path_, content));
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(File, WhatIsWrittenIsReadAndMapped) {
  const TemporaryFile file("hello");
  EXPECT_EQ(*read_file(file.path(), 5), "hello");
  EXPECT_EQ(MappedFile::open(file.path())->bytes().size(), 5u);
}

TEST(File, RefusesWhatIsMissingTooLargeOrNoRegularFile) {
  const TemporaryFile file("hello");
  EXPECT_EQ(read_file(file.path(), 4).error().code, ErrorCode::kBadFile);
  EXPECT_EQ(MappedFile::open("/nonexistent/x").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(MappedFile::open("/tmp").error().code, ErrorCode::kBadFile);
  EXPECT_EQ(MappedFile::open("/dev/zero").error().code, ErrorCode::kBadFile);
}

TEST(File, AnEmptyFileMapsToNoBytes) {
  const TemporaryFile file("");
  EXPECT_TRUE(MappedFile::open(file.path())->bytes().empty());
}

TEST(File, DroppedPagesReadTheSameAgain) {
  const std::string content(100'000, 'q');
  const TemporaryFile file(content);
  const MappedFile mapped = *MappedFile::open(file.path());
  mapped.drop(0, content.size());
  EXPECT_EQ(static_cast<char>(mapped.bytes()[99'999]), 'q');
}

TEST(File, IsReadAtPlacesAndNotBeyondItsEnd) {
  const TemporaryFile file("hello, quern");
  const auto opened = OpenFile::open(file.path());
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->size(), 12u);
  std::string word(5, ' ');
  ASSERT_TRUE(opened->read_at(7, std::as_writable_bytes(std::span(word))));
  EXPECT_EQ(word, "quern");
  const auto beyond = opened->read_at(8, std::as_writable_bytes(std::span(word)));
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code, ErrorCode::kBadFile);
  EXPECT_NE(beyond.error().message.find("1 bytes too soon"), std::string::npos);
  EXPECT_EQ(OpenFile::open("/tmp").error().code, ErrorCode::kBadFile);
}

TEST(File, WritingIntoAMissingFolderFailsAndLeavesNothing) {
  const auto result = write_file_atomically("/nonexistent/folder/x", "text");
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("/nonexistent/folder/x"), std::string::npos);
}

TEST(NewFile, TakesItsPlaceWhenCommittedAndNotBefore) {
  const TemporaryFile old("old");
  auto file = NewFile::create(old.path());
  ASSERT_TRUE(file) << file.error().message;
  const std::string text = "new!";
  ASSERT_TRUE(file->reserve(4));
  ASSERT_TRUE(file->write(std::as_bytes(std::span(text))));
  EXPECT_EQ(*read_file(old.path(), 100), "old");
  EXPECT_EQ(*read_file(file->beside(), 100), text);
  ASSERT_TRUE(file->commit());
  EXPECT_EQ(*read_file(old.path(), 100), text);
  EXPECT_FALSE(std::filesystem::exists(file->beside()));
}

TEST(NewFile, WhatIsNotCommittedIsRemoved) {
  const TemporaryFile old("old");
  std::filesystem::path beside;
  {
    auto file = NewFile::create(old.path());
    ASSERT_TRUE(file);
    beside = file->beside();
    NewFile moved = *std::move(file);
    EXPECT_TRUE(std::filesystem::exists(beside));
  }
  EXPECT_FALSE(std::filesystem::exists(beside));
  EXPECT_EQ(*read_file(old.path(), 100), "old");
}

TEST(NewFile, MoreThanTheDiskHoldsIsKnownAtOnce) {
  const TemporaryFile old("old");
  auto file = NewFile::create(old.path());
  ASSERT_TRUE(file);
  const auto reserved = file->reserve(uint64_t{1} << 62);
  ASSERT_FALSE(reserved);
  EXPECT_EQ(reserved.error().code, ErrorCode::kSystem);
  EXPECT_NE(reserved.error().message.find(old.path().string()), std::string::npos);
}

TEST(NewFolder, TakesThePlaceOfAnotherWhenCommitted) {
  namespace fs = std::filesystem;
  const TemporaryFile name("");
  fs::remove(name.path());
  for (const std::string text : {"first", "second"}) {
    auto folder = NewFolder::create(name.path());
    ASSERT_TRUE(folder) << folder.error().message;
    ASSERT_TRUE(write_file_atomically(folder->beside() / text, text));
    EXPECT_FALSE(fs::exists(name.path() / text));
    ASSERT_TRUE(folder->commit());
  }
  EXPECT_TRUE(fs::exists(name.path() / "second"));
  EXPECT_FALSE(fs::exists(name.path() / "first"));
  std::filesystem::path beside;
  {
    const auto folder = NewFolder::create(name.path());
    beside = folder->beside();
    ASSERT_TRUE(write_file_atomically(beside / "third", "third"));
  }
  EXPECT_FALSE(fs::exists(beside));
  EXPECT_TRUE(fs::exists(name.path() / "second"));
  fs::remove_all(name.path());
}

TEST(ByteReader, NeverReadsPastTheEnd) {
  const std::string bytes("\x01\x02\x03\x04", 4);
  ByteReader reader(std::as_bytes(std::span(bytes)), "f");
  EXPECT_EQ(*reader.take_number<uint16_t>("a"), 0x0201);
  EXPECT_FALSE(reader.take_number<uint32_t>("b"));
  EXPECT_EQ(*reader.take_text(2, "c"), "\x03\x04");
  EXPECT_TRUE(reader.at_end());
  EXPECT_FALSE(reader.take(1, "d"));
  EXPECT_FALSE(reader.take(UINT64_MAX, "e"));
}

TEST(ByteReader, RefusesACountThatCannotFitEvenWhereTheProductWraps) {
  const std::string bytes(16, '\0');
  ByteReader reader(std::as_bytes(std::span(bytes)), "f");
  EXPECT_TRUE(reader.check_count(2, 8, "items"));
  EXPECT_FALSE(reader.check_count(3, 8, "items"));
  EXPECT_FALSE(reader.check_count(uint64_t{1} << 61, 8, "items"));
}

TEST(Numbers, TakeNoSignSpaceOrRest) {
  EXPECT_EQ(parse_integer<uint32_t>("42"), 42u);
  for (const char* bad : {"", "+1", " 1", "1 ", "1x", "-1", "4294967296", "0x10"}) {
    EXPECT_EQ(parse_integer<uint32_t>(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(parse_number("1e-3"), 0.001);
  for (const char* bad : {"inf", "nan", "1,5", "1e999"}) {
    EXPECT_EQ(parse_number(bad), std::nullopt) << bad;
  }
}

TEST(Numbers, SizesComeInPowersOf1024) {
  EXPECT_EQ(parse_size("512"), 512u);
  EXPECT_EQ(parse_size("4k"), 4096u);
  EXPECT_EQ(parse_size("8GiB"), uint64_t{8} << 30);
  EXPECT_EQ(parse_size("2MB"), uint64_t{2} << 20);
  for (const char* bad : {"", "G", "1X", "1GiBB", "-1", "99999999999T"}) {
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
  }
}

TEST(CheckedU64, RemembersOverflowThroughLaterOperations) {
  const CheckedU64 wrapped = CheckedU64(UINT64_MAX) + 1;
  EXPECT_TRUE((wrapped * 0).overflowed());
  EXPECT_FALSE((wrapped * 0).at_most(UINT64_MAX));
  EXPECT_EQ(align_up(33, 32).get(), 64u);
  EXPECT_TRUE(align_up(UINT64_MAX, 32).overflowed());
}

}  // namespace
}  // namespace quern
