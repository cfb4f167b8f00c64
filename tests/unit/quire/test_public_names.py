"""The public names the Python client, so that none changes unseen."""

import quire

NAMES = {
    "quire": """
        AnyJob ApiError AsyncAnyJob AsyncClient AsyncCorpus AsyncGeneration AsyncJob
        AsyncModel AsyncScoring AsyncTraining AuthenticationError Cap Checkpoint Client
        Conflict Corpus Device Event EventStreamError FieldError Generation InvalidInput
        InvalidRequest Job JobCancelled JobFailed JobNotSucceeded JobUpdate Key Lane Me
        Metric Model NotFound NotLoggedIn Novelty PermissionDenied Piece Problem
        Progress ProgressCallback Queue QueueEntry QueuePosition QuireError Reply
        ResourceNotFound Scoring ServerError ServerUnreachable StreamEvent Text
        TooManyRequests Training Usage User WaitTimeout stream_events
    """,
    "Client": """
        add_member announce announcement anonymous audit cancel_job checkpoint
        checkpoint_of_model checkpoints close corpora corpus corpus_text
        create_enrolment create_group create_key create_user delete_corpus
        delete_group delete_model delete_notification deliveries delivery
        devices disable_user download_checkpoint drain dry_run_train
        dry_run_upload enable_user end_announcement end_session enrolments
        export_model free_device group groups import_model is_alive job
        job_history job_metrics job_texts jobs keys me members model models
        next_tokens notifications notify open_event_stream
        open_event_stream_of_jobs open_event_stream_of_share pause_job
        promote_job queue readiness redeem_enrolment remove_member rerun_job
        restore_corpus restore_model resume_job revoke_enrolment revoke_key
        revoke_share rotate_webhook_secret send_test set_caps set_member_role
        share shared shared_history shared_metrics shared_texts shares storage
        submit_generation submit_score submit_training text texts train
        update_corpus update_group update_model update_text upload upload_corpus
        usage users webhook_secrets
    """,
    "Corpus": """
        as_json delete read refresh rename share unshare update
    """,
    "Generation": """
        as_json cancel ended history pause pieces refresh rerun result resume wait watch
    """,
    "JobUpdate": """
        bits_per_char epoch loss step val_loss
    """,
    "Model": """
        as_json checkpoint delete download generate generate_many list_checkpoints
        refresh rename score share stream submit texts unshare update
    """,
    "Scoring": """
        as_json cancel ended history pause refresh rerun result resume wait watch
    """,
    "Text": """
        as_json continuation whole
    """,
    "Training": """
        as_json cancel curve ended history metrics pause refresh rerun result resume
        sample_texts trained_model wait watch
    """,
}


def public(cls: type) -> set[str]:
    """The methods and properties that a class and its bases the client have."""
    return {
        name
        for base in cls.__mro__
        if base.__module__.startswith("quire.client")
        for name, value in vars(base).items()
        if not name.startswith(("_", "model_"))
        and (callable(value) or isinstance(value, property | classmethod))
    }


def test_the_names_of_the_package() -> None:
    assert sorted(quire.__all__) == NAMES["quire"].split()


def test_the_names_of_what_it_gives() -> None:
    for name in NAMES.keys() - {"quire"}:
        assert sorted(public(getattr(quire, name))) == NAMES[name].split(), name
        twin = getattr(quire, f"Async{name}", None)
        if twin is not None:
            assert public(twin) == public(getattr(quire, name)), name
