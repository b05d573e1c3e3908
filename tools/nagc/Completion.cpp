// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc completion: a script for bash, from the options that the tool knows.
#include "Help.h"

#include <map>
#include <set>

using namespace llvm;
using namespace nag;

static cl::SubCommand completionCommand("completion",
                                        "Print completions for bash");

/// The long options of a subcommand: "--steps --lr".
static std::string listOptions(cl::SubCommand &command) {
  std::set<std::string> names;
  for (const auto &entry : cl::getRegisteredOptions(command))
    if (entry.second->getOptionHiddenFlag() == cl::NotHidden &&
        !StringRef(entry.first).empty())
      names.insert((StringRef(entry.first).size() == 1 ? "-" : "--") +
                   StringRef(entry.first).str());
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "" : " ") + name;
  return text;
}

static Expected<int> run() {
  std::map<std::string, std::string> options;
  for (cl::SubCommand *command : cl::getRegisteredSubcommands())
    if (!command->getName().empty())
      options[command->getName().str()] = listOptions(*command);
  std::string names;
  for (const auto &[name, list] : options)
    names += (names.empty() ? "" : " ") + name;
  outs() << "_nagc() {\n"
            "  local word=${COMP_WORDS[COMP_CWORD]} options=\n"
            "  if [ $COMP_CWORD -eq 1 ]; then\n"
            "    COMPREPLY=($(compgen -W \""
         << names
         << " --help --version\" -- \"$word\"))\n"
            "    return\n"
            "  fi\n"
            "  case ${COMP_WORDS[1]} in\n";
  for (const auto &[name, list] : options)
    outs() << "    " << name << ") options=\"" << list << "\" ;;\n";
  outs() << "  esac\n"
            "  case $word in\n"
            "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
            "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
            "  esac\n"
            "}\n"
            "complete -o filenames -F _nagc nagc\n";
  return tool::kDone;
}

tool::Command nag::tool::getCompletionCommand() {
  return {completionCommand, run};
}
