"""Edit config.py, run `python train.py`, watch output/<run>/training.png."""

from foundation.scripts import run_script


def main():
    from foundation.flags import read_config

    config = read_config()

    import dispatcher
    from datasets import catalog
    from foundation import replicas
    from lab.runs.naming import check_given_name
    from lab.training.transfer_settings import check_transfer

    dispatcher.check_model(config)
    catalog.check_name(config.dataset, config.group_by)
    if not config.find_lr and not config.check:
        check_given_name(config)  # before anything that takes seconds to import
    if replicas.PROCESSES == 1:  # of several, some may be on machines that lack it: they say so together
        catalog.check_there(config.dataset)
        check_transfer(config)

    if config.check:
        from lab.trust.check import check

        code = check(config)
        if code or not config.find_lr:
            return code

    from lab.training.experiment import find_learning_rate, train

    return find_learning_rate(config) if config.find_lr else train(config)


if __name__ == "__main__":
    run_script(main)
