# Completion of vmcfg in fish, made by `python -m vmcfg.share`: not to be edited.

function __vmcfg_in --description 'Whether this command of vmcfg is being typed'
    set --local words (commandline --tokenize --cut-at-cursor --current-process)
    test (count $words) -gt 1; and test "$words[2]" = "$argv[1]"
end

function __vmcfg_alone --description 'Whether no command of vmcfg has been typed'
    test (count (commandline --tokenize --cut-at-cursor --current-process)) -eq 1
end

complete --command vmcfg --no-files
complete -c vmcfg -n __vmcfg_alone -l version -d 'Print the version and exit.'
complete -c vmcfg -n __vmcfg_alone -l help -d 'Show this message and exit.'
complete -c vmcfg -n __vmcfg_alone -a validate -d 'Check descriptions and print every mistake with its place.'
complete -c vmcfg -n __vmcfg_alone -a emit -d 'Print the ordered commands that set up a description\'s VM.'
complete -c vmcfg -n __vmcfg_alone -a try -d 'Perform a plan on this host\'s KVM, in a throw-away VM, and read it back.'
complete -c vmcfg -n __vmcfg_alone -a diff -d 'Compare two descriptions by the commands that they come to.'
complete -c vmcfg -n __vmcfg_alone -a explain -d 'Explain a rule, an attribute, or the order of the commands.'
complete -c vmcfg -n __vmcfg_alone -a example -d 'Print a sample description, or list them.'
complete -c vmcfg -n __vmcfg_alone -a schema -d 'Print a JSON Schema: of descriptions, plans, diagnostics or diffs.'
complete -c vmcfg -n '__vmcfg_in validate' -l format -r -f -a 'human concise json sarif github' -d 'How findings are printed.'
complete -c vmcfg -n '__vmcfg_in validate' -l exclude -r -f -d 'Leave out what matches, and all below it: by its name (old, \'draft-*\'), or with a slash by its path as found (\'lab/*\'). \'*\' matches slashes too. May be repeated.'
complete -c vmcfg -n '__vmcfg_in validate' -l fix -d 'Correct in the files what is certain, and report what is left.'
complete -c vmcfg -n '__vmcfg_in validate' -l diff -d 'With --fix: print what it would change, and write nothing.'
complete -c vmcfg -n '__vmcfg_in validate' -l host-kernel -r -f -d 'The oldest host kernel that the plan must work on; beats the description\'s.'
complete -c vmcfg -n '__vmcfg_in validate' -l strict -d 'Let warnings count as errors do.'
complete -c vmcfg -n '__vmcfg_in validate' -l stdin-filename -r -f -d 'What to call standard input in findings.'
complete -c vmcfg -n '__vmcfg_in validate' -l jobs -r -f -d 'Processes at most; by default one for each CPU.'
complete -c vmcfg -n '__vmcfg_in validate' -l color -r -f -a 'auto always never' -d 'Colour findings; auto: NO_COLOR, FORCE_COLOR, then whether it is a terminal that shows them.'
complete -c vmcfg -n '__vmcfg_in validate' -l help -d 'Show this message and exit.'
complete -c vmcfg -n '__vmcfg_in validate' -F
complete -c vmcfg -n '__vmcfg_in emit' -l format -r -f -a 'text json jsonl sh c' -d 'How the plan is written.'
complete -c vmcfg -n '__vmcfg_in emit' -l scope -r -f -a 'attributes vm' -d 'attributes (the default): what is set; vm: also what makes the objects.'
complete -c vmcfg -n '__vmcfg_in emit' -l phase -r -f -a 'create configure gic-init pmu-init late' -d 'Only the commands of these phases: create, configure, gic-init, pmu-init, late.'
complete -c vmcfg -n '__vmcfg_in emit' -l api -r -f -a 'vcpu pmu-device pmu-device-mpidr' -d 'How a PMU interrupt\'s vCPU is named: vcpu (the default, merged in Linux 4.6), or one of the two that were never merged. See \'vmcfg explain identifiers\'.'
complete -c vmcfg -n '__vmcfg_in emit' -l device-type -r -f -d 'The number that your kernel gives KVM_DEV_TYPE_ARM_PMU_V3, which no released one does.'
complete -c vmcfg -n '__vmcfg_in emit' -l get -d 'The commands that read back what the plan sets, with the values expected.'
complete -c vmcfg -n '__vmcfg_in emit' -l numbers -d 'Text in numbers, for a C program to scan.'
complete -c vmcfg -n '__vmcfg_in emit' -l comments -d 'Text with lines that say what each command is and where it comes from.'
complete -c vmcfg -n '__vmcfg_in emit' -l main -d 'C with a main() that makes the VM, and prints what KVM says.'
complete -c vmcfg -n '__vmcfg_in emit' -l unchecked -d 'Report findings and emit all the same.'
complete -c vmcfg -n '__vmcfg_in emit' -s o -l output -r -F -d 'Write the plan to FILE, which is replaced in one step or not at all.'
complete -c vmcfg -n '__vmcfg_in emit' -l host-kernel -r -f -d 'The oldest host kernel that the plan must work on; beats the description\'s.'
complete -c vmcfg -n '__vmcfg_in emit' -l strict -d 'Let warnings count as errors do.'
complete -c vmcfg -n '__vmcfg_in emit' -l stdin-filename -r -f -d 'What to call standard input in findings.'
complete -c vmcfg -n '__vmcfg_in emit' -l color -r -f -a 'auto always never' -d 'Colour findings; auto: NO_COLOR, FORCE_COLOR, then whether it is a terminal that shows them.'
complete -c vmcfg -n '__vmcfg_in emit' -l help -d 'Show this message and exit.'
complete -c vmcfg -n '__vmcfg_in emit' -F
complete -c vmcfg -n '__vmcfg_in try' -l plan -r -F -d 'Perform this plan: emit --scope vm --format jsonl.'
complete -c vmcfg -n '__vmcfg_in try' -l format -r -f -a 'human json' -d 'How the report is written.'
complete -c vmcfg -n '__vmcfg_in try' -s v -l verbose -d 'A line for every command, with the value read back.'
complete -c vmcfg -n '__vmcfg_in try' -l no-run -d 'Do not enter the vCPUs.'
complete -c vmcfg -n '__vmcfg_in try' -l unchecked -d 'Try in spite of findings, and compare what they predict.'
complete -c vmcfg -n '__vmcfg_in try' -l host-kernel -r -f -d 'The oldest host kernel that the plan must work on; beats the description\'s.'
complete -c vmcfg -n '__vmcfg_in try' -l strict -d 'Let warnings count as errors do.'
complete -c vmcfg -n '__vmcfg_in try' -l stdin-filename -r -f -d 'What to call standard input in findings.'
complete -c vmcfg -n '__vmcfg_in try' -l color -r -f -a 'auto always never' -d 'Colour findings; auto: NO_COLOR, FORCE_COLOR, then whether it is a terminal that shows them.'
complete -c vmcfg -n '__vmcfg_in try' -l help -d 'Show this message and exit.'
complete -c vmcfg -n '__vmcfg_in try' -F
complete -c vmcfg -n '__vmcfg_in diff' -l format -r -f -a 'text json' -d 'How differences are written.'
complete -c vmcfg -n '__vmcfg_in diff' -l git -d 'Take the arguments that git gives an external diff command.'
complete -c vmcfg -n '__vmcfg_in diff' -l unchecked -d 'Report findings and compare all the same.'
complete -c vmcfg -n '__vmcfg_in diff' -l host-kernel -r -f -d 'The oldest host kernel that the plan must work on; beats the description\'s.'
complete -c vmcfg -n '__vmcfg_in diff' -l strict -d 'Let warnings count as errors do.'
complete -c vmcfg -n '__vmcfg_in diff' -l color -r -f -a 'auto always never' -d 'Colour findings; auto: NO_COLOR, FORCE_COLOR, then whether it is a terminal that shows them.'
complete -c vmcfg -n '__vmcfg_in diff' -l help -d 'Show this message and exit.'
complete -c vmcfg -n '__vmcfg_in diff' -F
complete -c vmcfg -n '__vmcfg_in explain' -l help -d 'Show this message and exit.'
complete -c vmcfg -n '__vmcfg_in explain' -f -a 'VMC100 VMC101 VMC102 VMC103 VMC104 VMC105 VMC106 VMC107 VMC108 VMC109 VMC110 VMC111 VMC120 VMC121 VMC122 VMC123 VMC124 VMC125 VMC126 VMC127 VMC128 VMC129 VMC201 VMC202 VMC203 VMC204 VMC205 VMC301 VMC302 VMC303 VMC304 VMC305 VMC306 VMC307 VMC308 VMC309 VMC310 VMC311 VMC401 VMC402 VMC403 VMC404 VMC405 VMC406 VMC407 VMC408 VMC409 VMC410 VMC411 VMC412 VMC413 VMC414 VMC501 VMC502 VMC503 VMC504 VMC505 VMC506 VMC507 VMC508 VMC509 VMC510 VMC511 VMC512 VMC513 VMC601 VMC602 VMC603 VMC604 VMC605 VMC606 VMC607 VMC608 VMC701 VMC702 VMC703 VMC704 VMC705 VMC801 VMC901 VMC902 VMC903 VMC904 vmcfg name vcpus vcpus.mpidr vcpus.pmu_irq host_kernel ipa_bits memory memory.base memory.size vcpu_ids gic gic.version gic.set_up_by gic.nr_irqs gic.distributor gic.redistributors gic.redistributors.base gic.redistributors.count gic.cpu_interface gic.its gic.maintenance_irq pmu pmu.irq pmu.device pmu.counters pmu.filter pmu.filter.action pmu.filter.events timers timers.virtual timers.physical timers.hyp_virtual timers.hyp_physical steal_time steal_time.base smccc_filter smccc_filter.action smccc_filter.base smccc_filter.count features devices devices.name devices.irq order'
complete -c vmcfg -n '__vmcfg_in example' -l help -d 'Show this message and exit.'
complete -c vmcfg -n '__vmcfg_in example' -f -a 'anchors clusters crosvm full gicv2 irregular kvmtool libkrun minimal monitors-gic nested pmu-filter qemu-virt qemu-virt-130 spi uniform vcpus-512'
complete -c vmcfg -n '__vmcfg_in schema' -l help -d 'Show this message and exit.'
complete -c vmcfg -n '__vmcfg_in schema' -f -a 'vm plan diagnostics diff'
