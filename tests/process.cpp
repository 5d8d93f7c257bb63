#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace quern {

namespace {

void set_nonblocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

[[noreturn]] void become(const std::vector<std::string>& words,
                         const std::vector<std::string>& environment) {
  for (const std::string& entry : environment) ::putenv(::strdup(entry.c_str()));
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(::strdup(word.c_str()));
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

}  // namespace

std::string ProcessResult::last_error_line() const {
  std::string text = err;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

ProcessResult run_process(const std::vector<std::string>& words, const std::string& input,
                          const std::vector<std::string>& environment) {
  std::array<std::array<int, 2>, 3> pipes{};
  for (auto& ends : pipes) {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {.status = -1, .out = {}, .err = "pipe"};
  }
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT: the program may not read all of its input
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(pipes[0][0], 0);
    ::dup2(pipes[1][1], 1);
    ::dup2(pipes[2][1], 2);
    become(words, environment);
  }
  ::close(pipes[0][0]);
  ::close(pipes[1][1]);
  ::close(pipes[2][1]);
  set_nonblocking(pipes[0][1]);

  ProcessResult result;
  size_t written = 0;
  std::array<pollfd, 3> polled = {
      {{pipes[0][1], POLLOUT, 0}, {pipes[1][0], POLLIN, 0}, {pipes[2][0], POLLIN, 0}}};
  const auto shut = [](pollfd& entry) {
    ::close(entry.fd);
    entry.fd = -1;
  };
  while (polled[1].fd >= 0 || polled[2].fd >= 0) {
    if (polled[0].fd >= 0 && written == input.size()) shut(polled[0]);
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) break;
    if (polled[0].fd >= 0 && polled[0].revents != 0) {
      const ssize_t count = ::write(polled[0].fd, input.data() + written, input.size() - written);
      if (count > 0) written += static_cast<size_t>(count);
      if (count < 0 && errno != EAGAIN) shut(polled[0]);
    }
    for (const size_t i : {size_t{1}, size_t{2}}) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      std::array<char, 1 << 16> buffer;
      const ssize_t count = ::read(polled[i].fd, buffer.data(), buffer.size());
      if (count <= 0) {
        shut(polled[i]);
      } else {
        (i == 1 ? result.out : result.err).append(buffer.data(), static_cast<size_t>(count));
      }
    }
  }
  if (polled[0].fd >= 0) shut(polled[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  result.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}

ProcessResult run_quern(std::vector<std::string> words, const std::string& input,
                        const std::vector<std::string>& environment) {
  words.insert(words.begin(), std::string(QUERN_BINARY_DIR) + "/quern");
  return run_process(words, input, environment);
}

ProcessResult run_in_shell(const std::string& line) {
  return run_process({"/bin/sh", "-c", line, std::string(QUERN_BINARY_DIR) + "/quern"});
}

std::string repository_model(const std::string& name) {
  return std::string(QUERN_SOURCE_DIR) + "/models/" + name;
}

}  // namespace quern
