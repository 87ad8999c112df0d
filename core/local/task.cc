#include "core/local/task.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include "core/local/command_spec.h"
#include "core/local/delivery_task.h"
#include "core/local/exec.h"
#include "core/local/identity.h"
#include "core/local/pipe_macros.h"

namespace millrace::local {
namespace {

// The rules of pipe(8) and spawn(8) for user=.  "" or why not.
std::string refuse_identity(const Identity& identity, const Rulers& rulers) {
  if (identity.uid == 0) return "user= command-line attribute specifies root privileges";
  if (identity.gid == 0) return "user= command-line attribute specifies a group with root privileges";
  if (!rulers.has_root) {
    return identity.uid == ::geteuid() ? "" : "started without root, cannot run commands as " + identity.name;
  }
  if (identity.uid == rulers.mail_owner) return "user= command-line attribute specifies mail system owner " + identity.name;
  return "";
}

ExecPlan plan_of(const config::Config& config, const CommandSpec& spec, const Rulers& rulers, const char* program) {
  ExecPlan plan;
  plan.program = program;
  const auto identity = find_identity(spec.user, spec.group);
  if (!identity) give_up(program, identity.error().context);
  if (const std::string why = refuse_identity(*identity, rulers); !why.empty()) give_up(program, why);
  plan.identity = *identity;
  plan.environment = command_environment(config);
  plan.chroot = spec.chroot;
  plan.directory = !spec.directory.empty() ? spec.directory : spec.chroot.empty() ? config.params().queue_directory : "";
  return plan;
}

}  // namespace

std::string refuse_task(const config::Service& service, const Request& request, std::size_t descriptors) {
  const char* wanted = request.kind == TaskKind::pipe ? "pipe" : request.kind == TaskKind::virtual_mailbox ? "virtual" : "local";
  if (service.command != wanted) return "service " + service.name + " is no " + wanted + " service";
  if (descriptors != kTaskDescriptors) return "wrong number of descriptors";
  return "";
}

void run_task(const config::Config& config, const config::Service& service, const Request& request,
              std::span<const int> fds, const Rulers& rulers) {
  const bool is_command = request.kind == TaskKind::pipe;
  const int places[] = {fds[0], fds[1], is_command ? fds[1] : ::open("/dev/null", O_WRONLY)};
  arrange_descriptors(places);
  new_session();
  if (!is_command) run_delivery(config, service, request);
  const auto spec = parse_command_spec(service.arguments, SpecKind::pipe);
  if (!spec) give_up("pipe", spec.error().context);
  ExecPlan plan = plan_of(config, *spec, rulers, "pipe");
  auto argv = expand_command(*spec, pipe_facts(request), config.params().recipient_delimiter);
  if (!argv) give_up("pipe", argv.error().context);
  plan.argv = std::move(*argv);
  exec_command(plan);
}

void run_spawn(const config::Config& config, const config::Service& service, int client, const Rulers& rulers) {
  const int places[] = {client, client, client};
  arrange_descriptors(places);
  new_session();
  const auto spec = parse_command_spec(service.arguments, SpecKind::spawn);
  if (!spec) ::_exit(1);
  // Words for the log would go to the client.
  const auto identity = find_identity(spec->user, spec->group);
  if (!identity || !refuse_identity(*identity, rulers).empty()) ::_exit(1);
  ExecPlan plan = plan_of(config, *spec, rulers, "spawn");
  plan.argv = spec->argv;
  exec_command(plan);
}

void check_commands(const config::Config& config, const Rulers& rulers, config::Findings& findings) {
  for (const config::Service& service : config.services()) {
    if (service.command != "pipe" && service.command != "spawn") continue;
    const auto spec = parse_command_spec(service.arguments, service.command == "pipe" ? SpecKind::pipe : SpecKind::spawn);
    if (!spec) {
      findings.error(service.where, service.name, spec.error().context);
      continue;
    }
    if (service.command == "pipe") {
      PipeFacts sample;
      sample.recipients.push_back({"user@example.org", "user@example.org"});
      if (const auto argv = expand_command(*spec, sample, ""); !argv) findings.error(service.where, service.name, argv.error().context);
    }
    const auto identity = find_identity(spec->user, spec->group);
    if (!identity) {
      findings.warning(service.where, service.name, identity.error().context + ": this service does not work");
    } else if (const std::string why = refuse_identity(*identity, rulers); !why.empty()) {
      findings.error(service.where, service.name, why);
    }
  }
}

}  // namespace millrace::local
